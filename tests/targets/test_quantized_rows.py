"""Products of activations that are quantized row by row: against the same in exact integers, on ragged sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import tvm

from dsc.elements import computed
from dsc.targets import Point, Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.quantized_rows import QuantizedRows
from dsc.targets.cpu.quantized_rows.packing import Bytes
from dsc.targets.cpu.quantized_rows.rows import SMALLEST
from dsc.targets.cpu.quantized_rows.space import QuantizedRowsSpace
from dsc.targets.kernel import ArrayType
from tests.kernels import compiled_library, machine
from tests.targets.test_weight_only import Case

BYTES = {"int8": 1, "int16": 2}


@dataclass(frozen=True)
class Product:
    """A case, with what activations may be rounded to."""

    case: Case
    element: str

    def space(self, cpu: Cpu) -> QuantizedRowsSpace | Refusal:
        return QuantizedRows().match(replace(self.case.workload(), multiplied_as=self.element), cpu)


CASES = [
    Case((1,), 100, 33, "int8", 100),
    Case((5,), 64, 48, "int8", 64),
    Case((3, 7), 96, 50, "int8", 32),
    Case((2,), 50, 12, "int8", 20),
    Case(("n",), 72, 20, "int8", 72),
    Case((9,), 1, 2, "int8", 1),
    Case((40,), 37, 70, "int8", 37),
    Case((7,), 52, 20, "int4", 52),
    Case((4,), 104, 40, "int4", 32),
]
PRODUCTS = [Product(case, element) for case in CASES for element in BYTES]


@dataclass(frozen=True)
class Built:
    product: Product
    point: Point
    packings: dict
    function: object

    def run(self, arrays: list[np.ndarray]) -> np.ndarray:
        x, *weight, bias = arrays
        inputs = [*weight, x, bias]  # as the ops read them
        given = [part for i, a in enumerate(inputs) for part in _packed(self.packings.get(i), a)]
        y = tvm.runtime.tensor(np.full((*x.shape[:-1], bias.size), 77, np.float32))
        self.function(*(tvm.runtime.tensor(array) for array in given), y)
        return y.numpy()


def _packed(packing: object, array: np.ndarray) -> tuple[np.ndarray, ...]:
    return (array,) if packing is None else packing.apply(array)


@pytest.fixture(scope="module")
def built() -> list[Built]:
    """The best point of each product, and one that divides the work in each other way, compiled together."""
    cpu, made = machine(), []
    for product in PRODUCTS:
        space = product.space(cpu)
        assert not isinstance(space, Refusal), f"{product}: {space.reason}"
        by_axis: dict[str, list[Point]] = {}
        for point in space.points():
            by_axis.setdefault(point.axis, []).append(point)
        made += [(product, best, space.build(best)) for p in by_axis.values() for best in [min(p, key=space.estimate)]]
    library = compiled_library({f"k{i}": impl.func for i, (_, _, impl) in enumerate(made)}, CpuBackend(cpu))
    return [Built(*each[:2], each[2].packings, library[f"k{i}"]) for i, each in enumerate(made)]


def space_size(product: Product) -> int:
    space = product.space(machine())
    assert not isinstance(space, Refusal)
    return space.problem.size


def exact(product: Product, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """In float64, of activations in whole steps of their row; and a bound of what this may be off by.

    Float32 has rounded what is within a few of its units of a tie to the other side: a step of a few elements. What
    else it rounds is sums of so many terms.
    """
    x, integers, scales, bias = (computed(array).astype(np.float64) for array in arrays)
    largest = {1: 127, 2: 127 * 257}[BYTES[product.element]]
    size = space_size(product)
    groups = np.arange(product.case.depth) // size
    step = np.stack([np.abs(x[..., groups == g]).max(-1) for g in range(groups[-1] + 1)], -1)[..., groups]
    step = np.maximum(step, SMALLEST) / largest
    steps = x / step
    rounded = np.rint(steps)
    weight = integers * scales[np.arange(product.case.depth) // product.case.group]
    is_tie = np.abs(np.abs(steps - rounded) - 0.5) < 2.0**-23 * np.abs(steps) * 4 + 1e-9
    bound = (np.abs(rounded * step)) @ np.abs(weight) * 2.0**-23 * 8 + (is_tie * step) @ np.abs(weight)
    return rounded * step @ weight + bias, bound + np.abs(bias) * 2.0**-22


def test_against_exact_integers(built: list[Built]) -> None:
    random = np.random.default_rng()
    for each in built:
        arrays = each.product.case.arrays(random)
        expected, bound = exact(each.product, arrays)
        off = np.abs(each.run(arrays) - expected) > bound
        assert not off.any(), f"{each.product} {each.point}: {np.argwhere(off)[:3]}"
