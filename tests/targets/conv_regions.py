"""Convolution regions to test kernels on: built as the layout pass builds them, with their reference by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
import tvm
from onnx import TensorProto, helper
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, SSAValue
from xdsl.ir import Region as IrRegion

from dsc.ir import onnx
from dsc.ir.dialect import FusionOp, PackOp, UnpackOp, WeightOp, YieldOp, packed_type
from dsc.ir.types import tensor, tensor_of_dims
from dsc.lower.workload import Workload
from dsc.targets import Implementation, Machine


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
    relu: bool = False
    residual: bool = False
    symbolic: tuple[int, ...] = field(default=())
    """Axes of the input whose size the kernel does not know."""

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
            sizes.append((padded - (self.kernel[axis] - 1) * self.dilations[axis] - 1) // self.strides[axis] + 1)
        return self.x[0], self.oc, *sizes

    def _dims(self, shape: Sequence[int], names: str) -> list[int | str]:
        return [names[axis] if axis in self.symbolic else size for axis, size in enumerate(shape)]

    def workload(self) -> Workload:
        """unpack -> Conv -> bias, residual, Relu -> pack, with the blocks that are not 1."""
        x_type = tensor_of_dims(f32, self._dims(self.x, "nchw"))
        y_type = tensor_of_dims(f32, self._dims(self.result, "ncpq"))
        types = [packed_type(x_type, 1, self.block) if self.block > 1 else x_type]
        weights = [WeightOp("w", tensor(np.float32, self.weight_shape))]
        types.append(weights[0].out.type)
        if self.bias:
            weights.append(WeightOp("b", tensor(np.float32, (self.oc,))))
            types.append(weights[1].out.type)
        if self.residual:
            types.append(packed_type(y_type, 1, self.out_block) if self.out_block > 1 else y_type)
        block = Block(arg_types=types)
        self._fill(block)
        outside = Block(arg_types=[types[0], *types[-1:]])
        residual = [outside.args[1]] if self.residual else []
        operands = [outside.args[0], *(op.out for op in weights), *residual]
        result = block.last_op.operands[0].type  # type: ignore[union-attr]
        fusion = FusionOp("conv2d", operands, [result], IrRegion(block))
        outside.add_ops([*weights, fusion])
        return Workload.of(fusion)

    def _fill(self, block: Block) -> None:
        def add(op: object) -> SSAValue:
            block.add_op(op)  # type: ignore[arg-type]
            return op.results[0]  # type: ignore[attr-defined]

        x, weight, *rest = block.args
        bias = rest[0] if self.bias else None
        value = add(UnpackOp(x, self.block)) if self.block > 1 else x
        value = add(onnx.Conv.make(value, weight, bias, **self.attributes))
        if self.residual:
            other = rest[-1]
            value = add(onnx.Add.make(value, add(UnpackOp(other, self.out_block)) if self.out_block > 1 else other))
        if self.relu:
            value = add(onnx.Relu.make(value))
        if self.out_block > 1:
            value = add(PackOp(value, self.out_block))
        block.add_op(YieldOp(value))

    def arrays(self, seed: int) -> list[np.ndarray]:
        """Random x, weight, bias, residual, those that are there, all NCHW."""
        random = np.random.default_rng(seed)
        shapes = [self.x, self.weight_shape]
        shapes += [(self.oc,)] if self.bias else []
        shapes += [self.result] if self.residual else []
        return [random.standard_normal(shape, dtype=np.float32) for shape in shapes]

    def reference(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """What ONNX Runtime makes of `arrays`, NCHW."""
        names = ["x", "w", *(["b"] if self.bias else [])]
        nodes = [helper.make_node("Conv", names, ["y"], **self.attributes)]
        if self.residual:
            nodes.append(helper.make_node("Add", ["y", "r"], ["z"]))
            names.append("r")
        if self.relu:
            nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], ["relu"]))
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


def run(cases: Sequence[Case], implementations: Sequence[Implementation], machine: Machine) -> list[float]:
    """Compile all in one module, run each; the greatest error of each, relative to the greatest output."""
    functions = {f"f{i}": impl.func.with_attr("global_symbol", f"f{i}") for i, impl in enumerate(implementations)}
    module = tvm.compile(tvm.IRModule(functions), target=machine.tvm_target())
    errors = []
    for i, (case, impl) in enumerate(zip(cases, implementations, strict=True)):
        arrays = case.arrays(seed=i)
        expected = pack(case.reference(arrays), case.out_block)
        result = tvm.runtime.tensor(np.full(expected.shape, np.nan, np.float32))
        module[f"f{i}"](*arguments(case, arrays, impl), result)
        errors.append(float(np.abs(result.numpy() - expected).max() / max(1.0, np.abs(expected).max())))
    return errors


def arguments(case: Case, arrays: Sequence[np.ndarray], impl: Implementation) -> list[tvm.runtime.Tensor]:
    """The inputs as the implementation wants them: images packed, weights rearranged."""
    given = []
    for index, array in enumerate(arrays):
        if index in impl.packings:
            array = impl.packings[index].apply(array)
        elif array.ndim == 4 and index != 1:
            array = pack(array, case.block if index == 0 else case.out_block)
        given.append(tvm.runtime.tensor(np.ascontiguousarray(array)))
    return given
