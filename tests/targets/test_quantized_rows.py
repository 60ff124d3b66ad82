"""Products of activations in bytes, row by row: against the same in exact integers, on ragged sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
import pytest
import tvm

from dsc.elements import computed
from dsc.targets import Implementation, Point, Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.quantized_rows import QuantizedRows
from dsc.targets.cpu.quantized_rows.packing import Bytes, ZeroPoints
from dsc.targets.cpu.quantized_rows.space import QuantizedRowsSpace
from dsc.targets.cpu.weight_only import WeightOnly
from dsc.targets.kernel import ArrayType
from tests.kernels import compiled_library, machine
from tests.targets.in_steps import in_steps, product
from tests.targets.test_weight_only import Case

ELEMENTS = ("int8", "int16")
MACHINE = machine("x86:znver4")


def matched(case: Case, element: str | None, cpu: Cpu = MACHINE) -> QuantizedRowsSpace | Refusal:
    return QuantizedRows().match(replace(case.workload(), multiplied_as=element), cpu)


def space_of(case: Case, element: str, cpu: Cpu = MACHINE) -> QuantizedRowsSpace:
    found = matched(case, element, cpu)
    assert not isinstance(found, Refusal), f"{case}: {found.reason}"
    return found


CASES = [
    Case((1,), 100, 33, "int8", 100),
    Case((5,), 64, 48, "int8", 64),
    Case((3, 7), 96, 50, "int8", 32),  # groups of the weight, as large as those of activations
    Case((6,), 160, 17, "int8", 96),  # three to one, the last one smaller
    Case((2,), 50, 12, "int8", 20),  # no multiple of 32
    Case(("n",), 72, 20, "int8", 72),
    Case((9,), 1, 2, "int8", 1),
    Case((40,), 37, 70, "int8", 37),
    Case((7,), 52, 20, "int4", 52),
    Case((3,), 75, 9, "uint8", 20, zeros=True),
    Case((5,), 70, 40, "uint8", 70, zeros=True),
    Case((2,), 104, 33, "uint4", 32, zeros=True),
    Case((4,), 64, 8, "int8", 32, zeros=True),
    Case((4,), 104, 40, "int4", 32),
]


@dataclass(frozen=True, eq=False)
class Built:
    """One point of a product as code."""

    case: Case
    element: str
    size: int
    """Of groups of activations."""
    point: Point
    implementation: Implementation
    function: tvm.runtime.Function

    def __str__(self) -> str:
        return f"{self.element} {self.case} {self.point}"

    def run(self, arrays: list[np.ndarray]) -> np.ndarray:
        x, *weight, bias = arrays
        packings = self.implementation.packings
        inputs = enumerate([*weight, x, bias])  # as the ops read them
        given = [part for i, a in inputs for part in (packings[i].apply(a) if i in packings else (a,))]
        y = tvm.runtime.tensor(np.full((*x.shape[:-1], bias.size), 77, np.float32))
        self.function(*(tvm.runtime.tensor(array) for array in given), y)
        found: np.ndarray = y.numpy()
        return found


@pytest.fixture(scope="module")
def built() -> list[Built]:
    """Of each product the best point of each way to divide the work, for this host, compiled together."""
    cpu, made = machine(), []
    for case in CASES:
        for element in ELEMENTS:
            space = space_of(case, element, cpu)
            best: dict[str, Point] = {}
            for point in sorted(space.points(), key=space.estimate):
                best.setdefault(point.axis, point)
            made += [(case, element, space.problem.size, point, space.build(point)) for point in best.values()]
    library = compiled_library({f"k{i}": each[-1].func for i, each in enumerate(made)}, CpuBackend(cpu))
    return [Built(*each, library[f"k{i}"]) for i, each in enumerate(made)]


pytestmark = pytest.mark.skipif(
    isinstance(matched(CASES[0], "int8", machine()), Refusal), reason="this host has no instruction for bytes"
)


def weight_of(case: Case, arrays: list[np.ndarray]) -> np.ndarray:
    _, integers, scales, *zeros, _ = (computed(array).astype(np.float64) for array in arrays)
    groups = np.arange(case.depth) // case.group
    dequantized: np.ndarray = (integers - (zeros[0][groups] if zeros else 0)) * scales[groups]
    return dequantized


def magnitudes_of(case: Case, arrays: list[np.ndarray]) -> np.ndarray:
    """Of the integers and of the zero points, which are multiplied one after the other."""
    _, _, scales, *_ = arrays
    return 2.0 * (255 if case.zeros else 128) * np.abs(scales.astype(np.float64))[np.arange(case.depth) // case.group]


def test_against_exact_integers(built: list[Built]) -> None:
    random = np.random.default_rng()
    for each in built:
        arrays = each.case.arrays(random)
        weight, magnitudes = weight_of(each.case, arrays), magnitudes_of(each.case, arrays)
        expected, bound = product(arrays[0], weight, each.size, each.element, magnitudes)
        bias = arrays[-1].astype(np.float64)
        off = ~(np.abs(each.run(arrays) - (expected + bias)) <= bound + np.abs(bias) * 2.0**-22)
        assert not off.any(), f"{each}: {np.argwhere(off)[:3]}"


def test_every_way_to_divide_the_work_was_there(built: list[Built]) -> None:
    assert {each.point.axis for each in built} == {"none", "rows", "columns", "both"}


def test_no_activation_is_off_by_more_than_half_a_step(built: list[Built]) -> None:
    """One huge activation makes steps of its own group coarse, and of no other."""
    random = np.random.default_rng()
    for each in built:
        arrays = each.case.arrays(random)
        x, weight = arrays[0], weight_of(each.case, arrays)
        x[..., 0] *= 1000
        wide = x.astype(np.float64)
        exact, magnitudes = wide @ weight, np.abs(wide) @ magnitudes_of(each.case, arrays)
        bias = arrays[-1].astype(np.float64)
        bound = in_steps(x, each.size, each.element).steps / 2 @ np.abs(weight) + (magnitudes + np.abs(bias)) * 2.0**-20
        off = ~(np.abs(each.run(arrays) - (exact + bias)) <= bound)
        assert not off.any(), f"{each}: {np.argwhere(off)[:3]}"


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_a_row_with_what_is_no_number_is_nan_and_others_are_not(built: list[Built], special: float) -> None:
    random = np.random.default_rng()
    for each in built:
        arrays = each.case.arrays(random)
        clean = each.run(arrays)
        rows = arrays[0].reshape(-1, each.case.depth)
        at = int(random.integers(len(rows)))
        rows[at, random.integers(each.case.depth)] = special
        found = each.run(arrays).reshape(len(rows), -1)
        assert np.isnan(found[at]).all(), str(each)
        others = np.arange(len(rows)) != at
        np.testing.assert_array_equal(found[others], clean.reshape(found.shape)[others], str(each))


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-38, 2.0**-101, 1e-20, 1e33])
def test_small_and_large_rows(built: list[Built], scale: float) -> None:
    """What is far below 2^-100 becomes 0. Sums leave the range before scales make them small: above 10^33."""
    random = np.random.default_rng()
    for each in built:
        arrays = each.case.arrays(random)
        signs = random.choice([-1, 1], arrays[0].shape)
        arrays[0] = (signs * random.uniform(0.5, 1, signs.shape) * scale).astype(np.float32)
        weight, bias = weight_of(each.case, arrays), arrays[-1].astype(np.float64)
        expected, bound = product(arrays[0], weight, each.size, each.element, magnitudes_of(each.case, arrays))
        found = each.run(arrays)
        off = ~(np.abs(found - (expected + bias)) <= bound + np.abs(bias) * 2.0**-22)
        assert not off.any(), f"{each}: {np.argwhere(off)[:3]}"


def test_packing_of_unsigned_weights_and_their_zero_points() -> None:
    """Both are made signed, which the difference does not see."""
    array = np.array([[0, 255, 128]], np.uint8)
    stored, sums = Bytes(columns=3, neighbours=4, bits=8, size=1, shift=128, offset=128).apply(array)
    assert stored[0, 0].reshape(3, 4).tolist() == [[-128, 0, 0, 0], [127, 0, 0, 0], [0, 0, 0, 0]]
    assert sums.reshape(-1).tolist() == [128 * 128, -128 * 127, 0]
    (zeros,) = ZeroPoints(2, 8).apply(np.array([[1, 15, 8]]).astype(ml_dtypes.uint4))
    assert zeros.dtype == np.float32
    assert zeros.tolist() == [[[-7, 7]], [[0, 0]]]


def test_packing() -> None:
    """Bit for bit: neighbours of the depth side by side, of 4 bits the second step above the first."""
    array = np.random.default_rng(3).integers(-8, 8, (11, 3)).astype(ml_dtypes.int4)
    packing = Bytes(columns=2, neighbours=4, bits=4, size=8, shift=128)
    stored, sums = packing.apply(array)
    types = packing.arrays(ArrayType(array.shape, "uint8"))
    assert types == (ArrayType((2, 2, 8), "int8"), ArrayType((2, 2, 2), "int32"))
    assert [(made.shape, str(made.dtype)) for made in (stored, sums)] == [(t.shape, t.dtype) for t in types]
    for k, n in np.ndindex(array.shape):
        step, neighbour = divmod(k, 4)
        both = int(stored[n // 2, step // 2, (n % 2) * 4 + neighbour])
        assert (both >> 4 * (step % 2)) & 15 == int(array[k, n]) % 16
    integers = computed(array).astype(np.int64)
    for group, n in np.ndindex(2, 3):
        assert sums[n // 2, group, n % 2] == -128 * integers[8 * group : 8 * group + 8, n].sum()
    assert not sums[1, :, 1].any()  # there is no fourth column
    (signed,) = Bytes(2, 4, 8, 8, shift=0).apply(integers.astype(np.int8))
    assert signed[0, 1].tolist() == [*integers[4:8, 0], *integers[4:8, 1]]


@pytest.mark.parametrize(
    ("case", "element", "tag", "reason"),
    [
        (Case((4,), 64, 8, "int8", 64), None, "znver4", "activations may not be rounded to bytes"),
        (Case((4,), 64, 8, "int8", 64), "bfloat16", "znver4", "activations may not be rounded to bytes"),
        (Case((4,), 64, 8, "uint8", 64), "int8", "znver4", "its weight is unsigned and has no zero points"),
        (Case((4,), 64, 8, "int2", 64), "int16", "znver4", "its weight is of 2 bits"),
        (Case((4,), 64, 8, "int8", 6), "int8", "znver4", "groups of 6 are no whole words"),
        (Case((1,), 262152, 1, "int8", 131076), "int8", "znver4", "sums of 131076 products leave 32 bits"),
        (
            Case((4,), 64, 8, "int8", 64), "int16", "haswell",
            "no instruction that multiplies bytes by signed bytes",
        ),
    ],
)  # fmt: skip
def test_refusals(case: Case, element: str | None, tag: str, reason: str) -> None:
    found = matched(case, element, machine(f"x86:{tag}"))
    assert isinstance(found, Refusal)
    assert found.reason == reason


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("rows", [1, 4, 128])
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_it_is_faster_than_floats_by_estimate(element: str, rows: int, dtype: str) -> None:
    case = Case((rows,), 768, 768, dtype, 32)
    floats = WeightOnly().match(case.workload(), MACHINE)
    assert not isinstance(floats, Refusal)
    best = [min(map(space.estimate, space.points())) for space in (floats, space_of(case, element))]
    assert best[1] < best[0]


def test_tiles_fit_the_registers() -> None:
    """Sums of integers and those of floats, beside the vectors of the weight."""
    for element, count in (("int8", 1), ("int16", 2)):
        for tag, registers in (("znver4", 32), ("alderlake", 16)):
            for point in space_of(Case((128,), 768, 768, "int8", 768), element, machine(f"x86:{tag}")).points():
                sums = point.rows * point.vectors
                assert sums + count * sums + point.vectors < registers
