# ruff: noqa: E501 - graphs are written on one line
"""Rows from registers: norms, softmax and means of any length and layout, against ONNX Runtime and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from dsc.targets import Refusal, Space
from dsc.targets.gpu.rows import ReduceRows
from dsc.targets.gpu.rows.cost import Cost
from dsc.targets.gpu.rows.kernel import RowsSpace
from dsc.targets.gpu.rows.sharing import Sharing, candidates
from tests.gpu.device import Device
from tests.targets.cuda.simulated import backend, best, check, device, library, machine
from tests.targets.regions import Region

NORM = "(float16[{rows},768] x, float16[{rows},768] r, float16[768] s, float16[768] b) => (float16[{rows},768] y) { t = Add(x, r) y = LayerNormalization(t, s, b) }"
MIXED = "(float16[{rows},768] x, float[768] s, float[768] b) => (float16[{rows},768] y) { c = Cast<to=1>(x) t = LayerNormalization(c, s, b) y = Cast<to=10>(t) }"
"""As `--precision fp16` leaves it."""
LENGTHS = [
    # vectors of 16 bytes, a warp a row
    Region(NORM.replace("{rows}", "8"), atol=4e-3),
    # rows that do not begin at a vector, nor at a piece of memory
    Region("(float[3,769] x, float[769] s, float[769] b) => (float[3,769] y) { y = LayerNormalization(x, s, b) }"),
    Region("(float16[70,31] x) => (float16[70,31] y) { y = Softmax(x) }", atol=1e-3),
    Region("(float[9,2] x) => (float[9] y) { a = Constant<value_ints=[1]>() y = ReduceLogSumExp<keepdims=0>(x, a) }"),
    # too long for a warp's registers
    Region("(float[2,5000] x) => (float[2,5000] y) { y = LogSoftmax(x) }"),
]  # fmt: skip
LAYOUTS = [
    # channels of packed images: neighbouring rows, which a vector is of; or the row itself, in two parts
    Region("(float[2,12,7,7] x) => (float[2,12,1,1] y) { y = GlobalAveragePool(x) }", block=4),
    Region("(float[2,32,3,3] x) => (float[2,32,3,3] y) { y = Softmax<axis=1>(x) }", block=16),
    # pixels of plain ones, of odd size: neighbours are neighbouring rows
    Region("(float[1,40,15,17] x) => (float[1,40,15,17] y) { y = Softmax<axis=1>(x) }"),
    # rows of channels and pixels, with a scale for each channel; several results; a number for each row and each element
    Region("(float[2,12,5,7] x, float[12] s, float[12] b) => (float[2,12,5,7] y) { y = GroupNormalization<num_groups=3>(x, s, b) }"),
    Region("(float[n,3,16] x, float[3,16] s) => (float[n,3,16] y, float[n,1,1] m, float[n,1,1] v, float[n,3,16] t) { t = Relu(x) y, m, v = LayerNormalization<axis=1>(t, s) }", {"n": 5}),
]  # fmt: skip


def test_rows_of_any_length_and_layout(simulation: Device) -> None:
    regions = [*LENGTHS, *LAYOUTS]
    check(ReduceRows(), regions, simulation)
    counters = [simulation.counters()[f"k{i}_kernel"] for i in range(len(regions))]
    norm, *others = (counters[regions.index(each)] for each in (LENGTHS[0], LAYOUTS[0], LAYOUTS[1], LAYOUTS[2]))
    assert norm.coalescing == 1.0
    assert min(each.coalescing for each in others) >= 0.8
    # what is added is read once, scale and bias by each row, and the results are written once
    assert 1.0 <= norm.global_bytes / (2 * 768 * 8 * (2 + 2 + 1)) < 1.01


def one_of_each_kind(space: Space) -> list[Sharing]:
    """Threads by themselves, parts of warps, warps, blocks of several; vectors in rows, and across them."""
    kinds = {
        (False, 4, 1, 2),
        (False, 1, 1, 32),
        (False, 4, 1, 256),
        (True, 2, 1, 1),
        (True, 2, 2, 4),
        (True, 1, 4, 32),
    }
    assert isinstance(space, RowsSpace)
    found = [each for each in candidates(space.program, space.machine) if each.threads != 64]
    return [each for each in found if (each.by_row, each.vector, each.apart, each.group) in kinds]


def test_every_way_to_share_rows(simulation: Device) -> None:
    long, short = (
        Region("(float[5,1100] x) => (float[5,1100] y) { y = Softmax<axis=-1>(x) }"),
        Region("(float[3,37,6] x) => (float[3,37,6] y) { y = Softmax<axis=1>(x) }"),
    )
    in_rows, across = (one_of_each_kind(_space(region)) for region in (long, short))
    assert (len(in_rows), len(across)) == (3, 3)
    assert {point.keeps(1100) for point in in_rows} == {True, False}
    check(ReduceRows(), [long, short], simulation, one_of_each_kind)


def test_halves_whose_scale_is_of_floats(simulation: Device) -> None:
    """Eight halves are one load and eight floats two, which waste half of what each touches: four at once do not."""
    region = Region(MIXED.replace("{rows}", "8"), atol=4e-3)
    space = _space(region, simulation.arch)
    wide = Sharing(group=32, threads=64, vector=8, by_row=False, apart=1, vectors=3)
    assert wide in candidates(space.program, space.machine)
    check(ReduceRows(), [region], simulation, lambda space: [wide, *best(space)])
    eights, fours = (simulation.counters()[f"k{i}_kernel"] for i in range(2))
    assert fours.coalescing == 1.0
    cost = Cost(space.program, space.machine)
    assert eights.coalescing == pytest.approx(cost.coalescing(wide), abs=0.01)
    assert eights.global_sectors == pytest.approx(cost.moved(wide).all.sectors * 8 * wide.steps(768))


def _space(region: Region, tag: str = "sm_80") -> RowsSpace:
    found = ReduceRows().match(region.workload(), machine(tag))
    assert isinstance(found, RowsSpace)
    return found


def test_numbers_that_are_none(simulation: Device) -> None:
    """As NumPy has them: of a row of minus infinity, or with an infinity or NaN in it, a softmax knows nothing."""
    region = Region(
        "(float[5,36] x) => (float[5,36] y, float[5,1] z) { a = Constant<value_ints=[1]>() y = Softmax(x) z = ReduceMax(x, a) }"
    )
    space = _space(region, simulation.arch)
    code, on = library({"k": space.build(best(space)[0]).func}, backend(simulation)), device(simulation)
    x = np.random.default_rng(0).standard_normal((5, 36)).astype(np.float32)
    x[0, 7], x[1, 35], x[2, 0], x[2, 20], x[3] = np.nan, np.inf, -np.inf, 1e30, -np.inf
    y, z = (tvm.runtime.tensor(np.full(shape, 77, np.float32), on) for shape in ((5, 36), (5, 1)))
    code["k"](tvm.runtime.tensor(x, on), y, z)
    with np.errstate(invalid="ignore"):
        powers = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(z.numpy(), x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert np.isnan(expected[[0, 1, 3]]).all()
    assert np.isfinite(expected[[2, 4]]).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(float[4,6] x) => (float[4,6] y) { y = Relu(x) }", "nothing is reduced"),
        ("(float[4,6] x, float[6,5] w) => (float[4,5] y) { y = MatMul(x, w) }", "a sum of products"),
        ("(float[1,2,9,9] x) => (float[1,2,7,7] y) { y = MaxPool<kernel_shape=[3,3]>(x) }", "rows share what they reduce"),
        ("(float[4,n] x) => (float[4,n] y) { y = Softmax(x) }", "a length that is not known"),
        ("(float[4,1] x) => (float[4,1] y) { y = Softmax(x) }", "rows of one element"),
        ("(float[6,5] x) => (float[6,6] y) { p = Transpose<perm=[1,0]>(x) t = MatMul(x, p) y = Softmax(t) }", "more than one launch"),
        ("(float[4,6] x) => (float[6] y) { a = Constant<value_ints=[1]>() t = ReduceSum(x, a) q = Sub(x, t) b = Constant<value_ints=[0]>() y = ReduceMax<keepdims=0>(q, b) }", "launch"),
    ],
)  # fmt: skip
def test_what_is_left_to_others(text: str, reason: str) -> None:
    found = ReduceRows().match(Region(text).workload(), machine())
    assert isinstance(found, Refusal), text
    assert reason in found.reason


def test_the_norms_of_a_transformer_are_bound_by_what_they_move() -> None:
    """By the estimate: of 1024 rows of 768 halves, which an A100 has in L2, in at most 2.5 us beside the launch."""
    for text, vector in ((NORM, 8), (MIXED, 4)):
        space = _space(Region(text.replace("{rows}", "1024")))
        (point,) = best(space)
        assert space.estimate(point) - machine().launch_seconds <= 1.6e-6, text
        assert (point.vector, point.group) == (vector, 32)


@pytest.mark.parametrize("tag", ["sm_80", "gfx942"])
def test_what_all_rows_read_alike_comes_from_l2_once_for_each_block(tag: str) -> None:
    """Of a norm that is its scale and bias, if a multiprocessor's own cache has them; of a softmax nothing is."""
    norm = _space(Region(MIXED.replace("{rows}", "1024")), tag)
    point = Sharing(group=32, threads=128, vector=4, by_row=False, apart=1, vectors=6)
    rows, scales = 2 * 1024 * 768 * 2, 2 * 768 * 4
    assert Cost(norm.program, norm.machine).l2_bytes(point, 256) == rows + 256 * scales
    softmax = _space(Region("(float16[1024,768] x) => (float16[1024,768] y) { y = Softmax(x) }"), tag)
    assert Cost(softmax.program, softmax.machine).l2_bytes(point, 256) == rows
    long = _space(Region(MIXED.replace("{rows}", "64").replace("768", "2560")), tag)
    point = Sharing(group=256, threads=256, vector=4, by_row=False, apart=1, vectors=3)
    assert Cost(long.program, long.machine).l2_bytes(point, 64) > 64 * (2 * 2560 * 2 + 2 * 2560 * 4)
