"""Products of bytes by sparse weights on GPUs: regions, and what they are to give, exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm

from dsc.ir import Graph, SparseAttr, WeightOp, onnx, tensor
from dsc.ir.types import with_encoding
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import Implementation, Kernel, Refusal
from dsc.targets.gpu.machine import Gpu
from tests.gpu.device import Device
from tests.targets.cuda.simulated import backend, device, library, machine
from tests.targets.regions import one_fusion
from tests.targets.sparse_products import best_and_any


@dataclass(frozen=True)
class ByteCase:
    """``MatMulInteger(x, w, zero)``, x of ``[*rows, depth]``; or, quantized, uint8 of it times a scale for each output,
    as QLinearMatMul and its kin end."""

    rows: tuple[int | str, ...]
    depth: int
    columns: int
    pattern: str = "4x1"
    density: float = 0.2
    element: str = "uint8"
    zero: int | None = 131
    """Of x; None is none. One that no byte of its type is becomes one less 128."""
    quantized: bool = False

    @property
    def encoding(self) -> SparseAttr:
        """What the weight's type says: as many blocks are occupied, whatever the seed."""
        pattern, weight = Pattern.parse(self.pattern), self.arrays(np.random.default_rng(0))[1]
        return SparseAttr.of(pattern, 1, pattern.occupied(matrix_of(weight, 1)).mean())

    def arrays(self, draw: np.random.Generator) -> list[np.ndarray]:
        """x, with 5 for rows of a free number, w, the zero point if there is one, and the scale: bytes of all values,
        many of them the least and the greatest."""
        limits = np.iinfo(self.element)
        x = draw.integers(
            limits.min,
            limits.max,
            (*(5 if isinstance(d, str) else d for d in self.rows), self.depth),
            self.element,
            endpoint=True,
        )
        x[draw.random(x.shape) < 0.2] = limits.min
        x[draw.random(x.shape) < 0.2] = limits.max
        weight = draw.integers(1, 127, (self.depth, self.columns), np.int8, endpoint=True)
        weight *= draw.choice(np.array([-1, 1], np.int8), weight.shape)
        weight[draw.random(weight.shape) < 0.2] = -128
        mask = Pattern.parse(self.pattern).keep(draw.random((self.columns, self.depth)), self.density)
        weight *= weight_of(mask, 1, weight.shape).astype(np.int8)
        zero = [] if self.zero is None else [np.array(self.zero - (128 if self.element == "int8" else 0), self.element)]
        return [x, weight, *zero, (draw.random(self.columns) * 1e-2).astype(np.float32)]

    def workload(self) -> Workload:
        """Of one region."""
        x, weight, *zero, scale = self.arrays(np.random.default_rng(1))
        rows = [-1 if isinstance(d, str) else d for d in self.rows]
        graph = Graph.build([("x", tensor(x.dtype, [*rows, self.depth]))])
        type_ = with_encoding(tensor(weight.dtype, weight.shape), self.encoding)
        made = [WeightOp(graph.weights.add(weight), type_)]
        made += [graph.weight_op(graph.weights.add(array)) for array in (*zero, scale)]
        zero_value = made[1].out if zero else None
        body = [onnx.MatMulInteger.make(graph.inputs[0], made[0].out, zero_value, None)]
        if self.quantized:
            body.append(onnx.Cast.make(body[-1].results[0], to=1))
            body.append(onnx.Mul.make(body[-1].results[0], made[-1].out))
            body.append(onnx.Round.make(body[-1].results[0]))
            body.append(onnx.Cast.make(body[-1].results[0], to=6))
        else:
            made.pop()
        graph.body.add_ops([*made, *body])
        graph.set_outputs([("y", body[-1].results[0])])
        return Workload.of(one_fusion(graph, body))

    def exact(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """What is to be."""
        x, weight, *zero, scale = arrays
        sums = (x.astype(np.int64) - (int(zero[0]) if zero else 0)) @ weight.astype(np.int64)
        if not self.quantized:
            return sums.astype(np.int32)
        return np.rint(sums.astype(np.int32).astype(np.float32) * scale).astype(np.int32)


def run(
    case: ByteCase,
    arrays: Sequence[np.ndarray],
    implementation: Implementation,
    kernel: tvm.runtime.Function,
    on: Device,
) -> np.ndarray:
    """What a kernel makes of them."""
    inputs = list(arrays) if case.quantized else list(arrays[:-1])
    (position,) = implementation.packings
    inputs[position : position + 1] = implementation.packings[position].apply(inputs[position])
    output = tvm.runtime.tensor(np.full((*arrays[0].shape[:-1], case.columns), 77, np.int32), device(on))
    kernel(*(tvm.runtime.tensor(array, device(on)) for array in inputs), output)
    return output.numpy()


def check(kernel: Kernel[Gpu], cases: Sequence[ByteCase], on: Device, seed: int) -> None:
    """Builds the best point of each case and any other, and compares both with NumPy's int64."""
    draw, order = np.random.default_rng(seed), random.Random(seed)
    print(f"seed {seed}", flush=True)
    made = []
    for case in cases:
        space = kernel.match(case.workload(), machine(on.arch))
        assert not isinstance(space, Refusal), f"{case}: {space.reason}"
        made += [(case, point, space.build(point)) for point in best_and_any(space, order)]
    code = library({f"k{i}": implementation.func for i, (*_, implementation) in enumerate(made)}, backend(on))
    for i, (case, point, implementation) in enumerate(made):
        arrays = case.arrays(draw)
        found = run(case, arrays, implementation, code[f"k{i}"], on)
        np.testing.assert_array_equal(found, case.exact(arrays), err_msg=f"{case} {point}")
    assert not on.faults()
