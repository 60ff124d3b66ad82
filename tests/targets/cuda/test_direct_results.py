# ruff: noqa: E501 - graphs are written on one line
"""Sums of products that go from registers straight to memory: where they may, what that costs, and where they arrive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tvm

from dsc.simulator import Simulation
from dsc.targets import Point, Space
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.matrix.tiling import Tiling
from tests.targets.cuda.simulated import backend, check, library
from tests.targets.cuda.test_matrix import matched, wide
from tests.targets.regions import Region
from tests.targets.weighted import Weighted

HALVES = 3e-2
REGIONS = [
    # more rows than tiles, fewer columns; halves, what is beside in either type
    replace(wide("float16[70,40] x, float16[48,40] w, float[48] c, float16[70,48] r) => (float16[70,48] y", "m = Gemm<transB=1>(a, b, c) h = Cast<to=10>(m) s = Add(h, r) y = Relu(s)"), atol=HALVES),
    # eight columns are a whole piece of memory in float32
    wide("float16[33,72] x, float16[24,72] w) => (float[33,24] y", "y = Gemm<transB=1>(a, b)"),
    wide("float16[2,32,9,8] x, float16[32,32,1,1] w) => (float[2,32,9,8] y", "c = Conv(a, b) y = Sigmoid(c)", block=16),
    Region("(uint8[45,32] x, int8[48,32] w) => (int32[45,48] y) { t = Transpose<perm=[1,0]>(w) y = MatMulInteger(x, t) }"),
]  # fmt: skip
THROUGH_SHARED_MEMORY = [
    # rows of 40 bytes, which lie across pieces of memory; neighbours in memory from column to column
    replace(wide("float16[33,40] x, float16[20,40] w) => (float16[33,20] y", "m = Gemm<transB=1>(a, b) y = Cast<to=10>(m)"), atol=HALVES),
    wide("float16[33,40] x, float16[40,32] w) => (float[33,32] y", "y = MatMul(a, b)"),
]  # fmt: skip
SQUARE = [
    replace(
        wide(
            "float16[64,64] x, float16[64,64] w, float16[64,64] r) => (float16[64,64] y",
            "m = Gemm<transB=1>(a, b) h = Cast<to=10>(m) y = Add(h, r)",
        ),
        atol=HALVES,
    )
]
CONSTANT = Weighted("(float16[37,48] x, float16[48,32] w) => (float16[37,32] y) { y = MatMul(x, w) }", weights=("w",))


def direct(space: Space) -> list[Point]:
    """A point without slices, of small tiles, another for each region."""
    points = [point for point in space.points() if isinstance(point, Tiling) and point.direct]
    small = [point for point in points if point.rows * point.columns <= 64 * 64]
    return [small[len(str(space.source.k)) * 5 * int(space.source.n) % len(small)]]  # type: ignore[attr-defined]


def test_results_straight_from_registers(simulation: Simulation) -> None:
    check(ContractMatrices(), REGIONS, simulation, direct)


@pytest.mark.parametrize("region", THROUGH_SHARED_MEMORY, ids=lambda region: region.text)
def test_where_pieces_of_memory_would_not_be_whole(region: Region) -> None:
    assert not any(point.direct for point in matched(region.workload()).points())


def test_slices_meet_in_shared_memory() -> None:
    points = matched(REGIONS[0].workload()).points()
    assert {point.direct for point in points if point.slices > 1} == {False}
    assert {point.direct for point in points if point.slices == 1} == {True}


def test_weights_are_packed_by_column(simulation: Simulation) -> None:
    """So that chunks of depth lie side by side, and columns may lie in another order; what is no constant stays."""
    space = matched(CONSTANT.workload())
    (point,) = direct(space)
    built = space.build(point)
    code = library({"k": built.func}, backend(simulation))
    x, w = CONSTANT.arrays()
    (packed,) = built.packings[1].apply(w)
    assert packed.tobytes() == np.ascontiguousarray(w.T).tobytes()
    output = tvm.runtime.tensor(np.full((37, 32), np.nan, np.float16), tvm.cuda(0))
    code["k"](*(tvm.runtime.tensor(array, tvm.cuda(0)) for array in (x, packed)), output)
    np.testing.assert_allclose(output.numpy(), x.astype(np.float64) @ w.astype(np.float64), rtol=2e-3, atol=HALVES)


def test_what_is_saved(simulation: Simulation) -> None:
    """The way of each sum to shared memory and back, 32 at once, and threads that meet for it; all pieces of memory are
    whole."""
    (region,) = SQUARE
    (point,) = [
        p
        for p in matched(region.workload()).points()
        if str(p) == str(replace(p, rows=64, columns=64, warps_down=2, warps_across=2, chunks=4, stages=2, direct=True))
    ]
    check(ContractMatrices(), SQUARE, simulation, lambda _: [point, replace(point, direct=False)])
    straight, through = (simulation.counters()[f"k{i}_kernel"] for i in range(2))
    assert straight.matrix_macs == through.matrix_macs > 0
    assert through.shared_wavefronts - straight.shared_wavefronts == 2 * 64 * 64 // 32
    assert straight.barriers < through.barriers
    assert straight.coalescing == 1.0
    assert straight.bank_conflicts == 0


def test_the_estimate_knows_what_is_saved() -> None:
    space = matched(REGIONS[0].workload())
    point = next(point for point in space.points() if point.direct)
    assert space.estimate(point) < space.estimate(replace(point, direct=False))
