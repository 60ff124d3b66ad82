"""Products by sparse weights on GPUs: regions of any element type, and what they are to give."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import tvm

from dsc.ir import Graph, SparseAttr, WeightOp, onnx, tensor
from dsc.ir.types import with_encoding
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import Implementation, Kernel, Point, Refusal, Space
from dsc.targets.gpu.machine import Gpu
from tests.gpu.device import Device
from tests.targets.cuda.simulated import backend, device, library, machine
from tests.targets.regions import one_fusion

ELEMENTS = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
ROUNDING = {"float32": 2.0**-21, "float16": 2.0**-9, "bfloat16": 2.0**-6}
"""Of a result that is rounded after the product, the sum and the Relu, relative to what was summed."""


@dataclass(frozen=True)
class Case:
    """``relu(x @ w + b)``; x of ``[*rows, depth]``."""

    rows: tuple[int | str, ...]
    depth: int
    columns: int
    pattern: str = "4x1"
    density: float = 0.2
    element: str = "float32"
    transposed: bool = False
    """Whether the weight is ``[columns, depth]``, as Gemm may have it."""

    @property
    def axis(self) -> int:
        """Of the weight's outputs."""
        return 0 if self.transposed else 1

    @property
    def encoding(self) -> SparseAttr:
        """What the weight's type says: as many blocks are occupied, whatever the seed."""
        pattern, weight = Pattern.parse(self.pattern), self.arrays(np.random.default_rng(0))[1]
        return SparseAttr.of(pattern, self.axis, pattern.occupied(matrix_of(weight, self.axis)).mean())

    def arrays(self, draw: np.random.Generator) -> list[np.ndarray]:
        """x, with 5 for rows of a free number, w and b."""
        dtype = ELEMENTS[self.element]
        mask = Pattern.parse(self.pattern).keep(draw.random((self.columns, self.depth)), self.density)
        shape = (self.columns, self.depth) if self.transposed else (self.depth, self.columns)
        weight = draw.standard_normal(shape) * weight_of(mask, self.axis, shape)
        x = draw.standard_normal((*(5 if isinstance(d, str) else d for d in self.rows), self.depth))
        return [array.astype(dtype) for array in (x, weight, draw.standard_normal(self.columns))]

    def workload(self) -> Workload:
        """Of one region."""
        _, weight, bias = self.arrays(np.random.default_rng(1))
        rows = [-1 if isinstance(d, str) else d for d in self.rows]
        graph = Graph.build([("x", tensor(ELEMENTS[self.element], [*rows, self.depth]))])
        type_ = with_encoding(tensor(weight.dtype, weight.shape), self.encoding)
        made = [WeightOp(graph.weights.add(weight), type_), graph.weight_op(graph.weights.add(bias))]
        x = graph.inputs[0]
        product = onnx.Gemm.make(x, made[0].out, transB=1) if self.transposed else onnx.MatMul.make(x, made[0].out)
        total = onnx.Add.make(product.results[0], made[1].out)
        end = onnx.Relu.make(total.results[0])
        body = [product, total, end]
        graph.body.add_ops([*made, *body])
        graph.set_outputs([("y", end.results[0])])
        return Workload.of(one_fusion(graph, body))

    def exact(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """In float64, and a bound of what the type may be off by."""
        x, weight, bias = (array.astype(np.float64) for array in arrays)
        weight = weight.T if self.transposed else weight
        bound = np.abs(x) @ np.abs(weight) + np.abs(bias)
        return np.maximum(x @ weight + bias, 0), bound * ROUNDING[self.element] + 1e-6


def stored(array: np.ndarray) -> np.ndarray:
    """As kernels have it in memory: bfloat16 in its bits."""
    return array.view(np.uint16) if array.dtype == ELEMENTS["bfloat16"] else array


def space_of(kernel: Kernel[Gpu], case: Case, gpu: Gpu) -> Space:
    """The tilings of a case."""
    space = kernel.match(case.workload(), gpu)
    assert not isinstance(space, Refusal), f"{case}: {space.reason}"
    return space


def best_and_any(space: Space, order: random.Random) -> list[Point]:
    """The point of least estimate, and another."""
    return list(dict.fromkeys((min(space.points(), key=space.estimate), order.choice(list(space.points())))))


def run(
    case: Case, arrays: Sequence[np.ndarray], implementation: Implementation, kernel: tvm.runtime.Function, on: Device
) -> np.ndarray:
    """What a kernel makes of x, w and b, in float64."""
    x, weight, bias = map(stored, arrays)
    (position,) = implementation.packings
    inputs = [x, bias]
    inputs[position:position] = implementation.packings[position].apply(weight)
    shape = (*x.shape[:-1], case.columns)
    output = tvm.runtime.tensor(stored(np.full(shape, np.nan, ELEMENTS[case.element])), device(on))
    kernel(*(tvm.runtime.tensor(array, device(on)) for array in inputs), output)
    found = output.numpy()
    return (found.view(ELEMENTS["bfloat16"]) if case.element == "bfloat16" else found).astype(np.float64)


def check(kernel: Kernel[Gpu], cases: Sequence[Case], on: Device, seed: int) -> list[str]:
    """Builds the best point of each case and any other, and compares both with float64. The names of the kernels."""
    draw, order = np.random.default_rng(seed), random.Random(seed)
    print(f"seed {seed}", flush=True)
    made = []
    for case in cases:
        space = space_of(kernel, case, machine(on.arch))
        made += [(case, point, space.build(point)) for point in best_and_any(space, order)]
    code = library({f"k{i}": implementation.func for i, (*_, implementation) in enumerate(made)}, backend(on))
    for i, (case, point, implementation) in enumerate(made):
        arrays = case.arrays(draw)
        expected, bound = case.exact(arrays)
        found = run(case, arrays, implementation, code[f"k{i}"], on)
        off = ~(np.abs(found - expected) <= bound)
        assert not off.any(), f"{case} {point}: {np.argwhere(off)[:3]}, {np.count_nonzero(off)} of {off.size}"
    assert not on.faults()
    return [f"k{i}_kernel" for i in range(len(made))]
