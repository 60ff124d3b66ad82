"""Convolution regions to test kernels on, as the layout pass builds them, and their reference by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
import tvm
from onnx import TensorProto, helper
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir import Region as IrRegion

from dsc.ir import SparseAttr, onnx
from dsc.ir.dialect import FusionOp, PackOp, UnpackOp, WeightOp, YieldOp, packed_type
from dsc.ir.types import tensor, tensor_of_dims, with_encoding
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import Implementation, Kernel, Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.machine import Cpu
from tests.kernels import compiled


@dataclass(frozen=True)
class Case:
    """One convolution: NCHW sizes, its attributes, the blocks outside, what follows."""

    x: tuple[int, int, int, int]
    oc: int
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    block: int = 1
    out_block: int = 1
    bias: bool = True
    activation: str = ""
    """Relu, HardSwish, or Silu: x * sigmoid(x)."""
    residual: bool = False
    """Something of the result's shape is added before the activation."""
    gate: bool = False
    """The result is multiplied by one number for each channel at last, as squeeze-and-excitation does."""
    symbolic: tuple[int, ...] = field(default=())
    """Axes of the input whose size the kernel does not know."""
    pattern: str = ""
    """Of the weight's zeros, which its type tells; none where it is empty."""
    density: float = 0.2
    """Of the weight, where it has a pattern."""

    @property
    def attributes(self) -> dict[str, object]:
        """Attributes of the ONNX node."""
        return {
            "kernel_shape": list(self.kernel), "strides": list(self.strides), "pads": list(self.pads),
            "dilations": list(self.dilations), "group": self.groups,
        }  # fmt: skip

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """[OC, IC / groups, KH, KW]."""
        return self.oc, self.x[1] // self.groups, *self.kernel

    @property
    def result(self) -> tuple[int, ...]:
        """NCHW sizes of the result."""
        sizes = []
        for axis in range(2):
            padded = self.x[2 + axis] + self.pads[axis] + self.pads[2 + axis]
            extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            sizes.append((padded - extent) // self.strides[axis] + 1)
        return self.x[0], self.oc, *sizes

    def _type(self, shape: Sequence[int], names: str, block: int) -> TensorType:
        dims = [names[axis] if axis in self.symbolic else size for axis, size in enumerate(shape)]
        plain = tensor_of_dims(f32, dims)
        return packed_type(plain, 1, block) if block > 1 else plain

    def workload(self) -> Workload:
        """unpack -> Conv -> bias, residual, Relu -> pack, with the blocks that are not 1."""
        same = self.x[2:] == self.result[2:]
        types = [self._type(self.x, "nchw", self.block)]
        weights = [WeightOp("w", with_encoding(tensor(np.float32, self.weight_shape), self._zeros))]
        if self.bias:
            weights.append(WeightOp("b", tensor(np.float32, (self.oc,))))
        types += [op.out.type for op in weights]
        if self.residual:
            types.append(self._type(self.result, "nchw" if same else "ncpq", self.out_block))
        if self.gate:
            types.append(self._type((*self.result[:2], 1, 1), "nc  ", self.out_block))
        block = Block(arg_types=types)
        self._fill(block)
        others = types[1 + len(weights) :]
        outside = Block(arg_types=[types[0], *others])
        operands = [outside.args[0], *(op.out for op in weights), *outside.args[1:]]
        result = block.last_op.operands[0].type  # type: ignore[union-attr]
        fusion = FusionOp("conv2d", operands, [result], IrRegion(block))
        outside.add_ops([*weights, fusion])
        return Workload.of(fusion)

    @property
    def _zeros(self) -> SparseAttr | None:
        """What the type of the weight says: as many blocks are occupied, whatever the seed."""
        if not self.pattern:
            return None
        pattern = Pattern.parse(self.pattern)
        return SparseAttr.of(pattern, 0, pattern.occupied(matrix_of(self.arrays(0)[1], 0)).mean())

    def _fill(self, block: Block) -> None:
        def add(op: Operation) -> SSAValue:
            block.add_op(op)
            return op.results[0]

        def plain(value: SSAValue, size: int) -> SSAValue:
            return add(UnpackOp(value, size)) if size > 1 else value

        x, weight, *rest = block.args
        bias = rest.pop(0) if self.bias else None
        value = add(onnx.Conv.make(plain(x, self.block), weight, bias, **self.attributes))
        if self.residual:
            value = add(onnx.Add.make(value, plain(rest.pop(0), self.out_block)))
        if self.activation == "Silu":
            value = add(onnx.Mul.make(value, add(onnx.Sigmoid.make(value))))
        elif self.activation:
            value = add(onnx.OPS[self.activation].make(value))
        if self.gate:
            value = add(onnx.Mul.make(value, plain(rest.pop(0), self.out_block)))
        if self.out_block > 1:
            value = add(PackOp(value, self.out_block))
        block.add_op(YieldOp(value))

    def arrays(self, seed: int) -> list[np.ndarray]:
        """Random x, weight, bias, residual, gate, those that are there, all NCHW."""
        random = np.random.default_rng(seed)
        shapes = [self.x, self.weight_shape]
        shapes += [(self.oc,)] if self.bias else []
        shapes += [self.result] if self.residual else []
        shapes += [(*self.result[:2], 1, 1)] if self.gate else []
        found = [random.standard_normal(shape, dtype=np.float32) for shape in shapes]
        if self.pattern:
            matrix = matrix_of(found[1], 0)
            mask = Pattern.parse(self.pattern).keep(random.random(matrix.shape), self.density)
            found[1] = np.where(weight_of(mask, 0, found[1].shape), found[1], np.float32(0))
        return found

    def reference(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """What ONNX Runtime makes of `arrays`, NCHW."""
        names = ["x", "w", *(["b"] if self.bias else [])]
        nodes = [helper.make_node("Conv", names, ["y0"], **self.attributes)]

        def add(kind: str, *inputs: str) -> str:
            nodes.append(helper.make_node(kind, inputs, [f"y{len(nodes)}"]))
            return nodes[-1].output[0]

        last = "y0"
        if self.residual:
            names.append("r")
            last = add("Add", last, "r")
        if self.activation == "Silu":
            last = add("Mul", last, add("Sigmoid", last))
        elif self.activation:
            last = add(self.activation, last)
        if self.gate:
            names.append("g")
            add("Mul", last, "g")
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names]
        output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "case", inputs, [output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, dict(zip(names, arrays, strict=True)))[0])


def pack(array: np.ndarray, block: int) -> np.ndarray:
    """NCHW as NCHW[c]; as it is where `block` is 1."""
    if block == 1:
        return array
    n, c, h, w = array.shape
    return np.ascontiguousarray(array.reshape(n, c // block, block, h, w).transpose(0, 1, 3, 4, 2))


def run(cases: Sequence[Case], implementations: Sequence[Implementation], machine: Cpu) -> list[float]:
    """Compile and run each: their greatest errors, relative to the greatest output."""
    errors = []
    for i, (case, impl) in enumerate(zip(cases, implementations, strict=True)):
        arrays = case.arrays(seed=i)
        expected = pack(case.reference(arrays), case.out_block)
        result = tvm.runtime.tensor(np.full(expected.shape, np.nan, np.float32))
        compiled(impl.func, CpuBackend(machine))(*arguments(case, arrays, impl), result)
        errors.append(float(np.abs(result.numpy() - expected).max() / max(1.0, np.abs(expected).max())))
    return errors


def check(kernel: Kernel, cases: Sequence[Case], machine: Cpu, tolerance: float) -> None:
    """Every case by its point of best estimate, some by another one; no error may exceed `tolerance`."""
    random = np.random.default_rng(7)
    tried: list[tuple[Case, object, Implementation]] = []
    for position, case in enumerate(cases):
        space = kernel.match(case.workload(), machine)
        assert not isinstance(space, Refusal), f"{case}: {space}"
        points = sorted(space.points(), key=space.estimate)
        other = points[0] if position % 2 else points[random.integers(len(points))]
        tried += [(case, point, space.build(point)) for point in dict.fromkeys((points[0], other))]
    errors = run([case for case, _, _ in tried], [impl for _, _, impl in tried], machine)
    wrong = [
        f"{case} at {point}: {error:.1e}"
        for (case, point, _), error in zip(tried, errors, strict=True)
        if not error <= tolerance
    ]
    assert not wrong, "\n".join(wrong)


def arguments(case: Case, arrays: Sequence[np.ndarray], impl: Implementation) -> list[tvm.runtime.Tensor]:
    """The inputs as the implementation wants them: images packed, weights rearranged."""
    given: list[np.ndarray] = []
    for index, array in enumerate(arrays):
        if index in impl.packings:
            given += impl.packings[index].apply(array)
        elif array.ndim == 4 and index != 1:
            given.append(pack(array, case.block if index == 0 else case.out_block))
        else:
            given.append(array)
    return [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in given]
