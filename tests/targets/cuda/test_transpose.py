"""Transposing copies by way of shared memory, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.simulator import simulated_rocm
from dsc.targets import Point, Refusal, Space
from dsc.targets.gpu.transpose import Transpose, TransposeSpace
from tests.gpu.device import Device
from tests.targets.cuda.simulated import check, every, machine
from tests.targets.regions import Region

COPIES = [
    Region("(float[96,128] x) => (float[128,96] y) { y = Transpose(x) }"),
    Region("(float[33,9] x) => (float[9,33] y) { y = Transpose(x) }"),
    Region("(float[3,40,5,17] x) => (float[3,17,5,40] y) { y = Transpose<perm=[0,3,2,1]>(x) }"),
    Region("(float16[2,3,70,31] x) => (float16[2,31,70,3] y) { y = Transpose<perm=[0,3,2,1]>(x) }", atol=0),
    Region("(int64[1,19,64] x) => (int64[1,64,19] y) { y = Transpose<perm=[0,2,1]>(x) }"),
    Region("(float[b,s,65] x) => (float[b,65,s] y) { y = Transpose<perm=[0,2,1]>(x) }", {"b": 2, "s": 41}),
]
WHOLE_ROWS = [
    Region("(float[2,19,37] x) => (float[2,37,19] y) { y = Transpose<perm=[0,2,1]>(x) }"),
    Region("(float[2,16,7,7] x) => (float[2,16,7,7] y) { y = Identity(x) }", block=8, sides="outputs"),
    Region("(float[2,16,7,7] x) => (float[2,16,7,7] y) { y = Identity(x) }", block=8, sides="inputs"),
]


def test_copies(in_any_order: Device) -> None:
    possible = [region for region in COPIES if not isinstance(Transpose().match(region.workload(), machine()), Refusal)]
    assert len(possible) >= 5
    check(Transpose(), possible, in_any_order, every)
    whole = in_any_order.counters()["k0_kernel"]
    assert whole.coalescing == 1.0
    assert whole.bank_conflicts == 0


def test_whole_rows(simulation: Device) -> None:
    """Rectangles of sizes that are no powers of two, which threads do not share evenly."""

    def odd(space: Space) -> Sequence[Point]:
        assert isinstance(space, TransposeSpace)
        found = [point for point in space.points() if not point.is_shared_evenly]
        assert found, space.copy
        return found[:1]

    check(Transpose(), WHOLE_ROWS, simulation, odd)


def test_whole_rows_are_one_piece_of_memory() -> None:
    """On pieces of 128 bytes, of which rows of 49 elements begin at no multiple, and parts of rows at fewer."""
    region = Region("(float[1,64,7,7] x) => (float[1,64,7,7] y) { y = Identity(x) }", block=16, sides="outputs")
    with simulated_rocm("gfx942") as simulation:
        check(Transpose(), [region], simulation)
        (counted,) = simulation.counters().values()
    assert counted.coalescing >= 0.8
    space = Transpose().match(region.workload(), machine("gfx942"))
    assert not isinstance(space, Refusal)
    assert {(point.rows, point.columns) for point in space.points()} == {(16, 49)}


def test_rows_that_stay_rows_are_refused() -> None:
    region = Region("(float[2,5,12,64] x) => (float[2,12,5,64] y) { y = Transpose<perm=[0,2,1,3]>(x) }")
    found = Transpose().match(region.workload(), machine())
    assert isinstance(found, Refusal)
    assert "as they are" in found.reason
