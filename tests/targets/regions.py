"""Regions written as ONNX text: their workloads, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import tvm
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir import Region as IrRegion

from dsc.exchange.importer import import_model
from dsc.ir import Graph
from dsc.ir.dialect import FusionOp, PackOp, UnpackOp, YieldOp, packed_type
from dsc.lower.workload import Workload
from dsc.passes.fuse.outline import outline
from dsc.passes.fuse.plan import Plan
from dsc.targets import Implementation, Kernel, Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.machine import Cpu
from tests.kernels import compiled_library


@dataclass(frozen=True)
class Region:
    """A graph in ONNX' text form, e.g. ``(float[2,n] x) => (float[2,n] y) { y = Relu(x) }``."""

    text: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Values of the symbolic dims when it is run."""
    block: int = 1
    """Inputs and outputs of rank 4 are NCHW[c] with blocks of this size, where it divides their channels."""
    sides: str = "both"
    """Which are: ``inputs``, ``outputs`` or ``both``."""
    atol: float = 1e-5

    def model(self) -> onnx.ModelProto:
        """The region as a model."""
        graph = onnx.parser.parse_graph(f"region {self.text}")
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)

    def workload(self) -> Workload:
        """The region as one dsc.fusion."""
        graph = import_model(self.model())
        packs = self.sides != "outputs"
        types = [self._outside(value.type) if packs else value.type for value in graph.inputs]
        block = Block(arg_types=types)
        values: dict[SSAValue, SSAValue] = {}
        for value, argument in zip(graph.inputs, block.args, strict=True):
            values[value] = argument if argument.type == value.type else _add(block, UnpackOp(argument, self.block))
        for op in graph.ops():
            block.add_op(op.clone(values))
        outputs = [self._packed(block, values[value]) for value in graph.outputs]
        block.add_op(YieldOp(*outputs))
        outside = Block(arg_types=types)
        fusion = FusionOp("test", outside.args, [value.type for value in outputs], IrRegion(block))
        outside.add_op(fusion)
        return Workload.of(fusion)

    def _outside(self, type_: object) -> object:
        packs = self.block > 1 and len(type_.get_shape()) == 4 and type_.get_shape()[1] % self.block == 0
        return packed_type(type_, 1, self.block) if packs else type_

    def _packed(self, block: Block, value: SSAValue) -> SSAValue:
        if self.sides == "inputs" or self._outside(value.type) == value.type:
            return value
        return _add(block, PackOp(value, self.block))

    def arrays(self, seed: int = 0) -> list[np.ndarray]:
        """Random inputs; integers lie in [0, 8)."""
        random = np.random.default_rng(seed)
        found = []
        for value in self.model().graph.input:
            dims = value.type.tensor_type.shape.dim
            shape = [d.dim_value if d.HasField("dim_value") else self.sizes[d.dim_param] for d in dims]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            if dtype == np.bool_:
                found.append(random.random(shape) < 0.5)
            elif np.issubdtype(dtype, np.integer):
                found.append(random.integers(0, 8, shape).astype(dtype))
            else:
                found.append(random.standard_normal(shape).astype(dtype))
        return found

    def reference(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What ONNX Runtime computes."""
        return self.session().run(None, dict(zip(self._input_names(), arrays, strict=True)))

    def session(self) -> ort.InferenceSession:
        """ONNX Runtime with one thread."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return ort.InferenceSession(self.model().SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _input_names(self) -> list[str]:
        return [value.name for value in self.model().graph.input]

    def pack(self, array: np.ndarray, side: str) -> np.ndarray:
        """NCHW as the region takes it among its ``inputs``, or gives it among its ``outputs``."""
        if self.sides not in ("both", side) or self.block == 1 or array.ndim != 4 or array.shape[1] % self.block:
            return array
        n, c, h, w = array.shape
        return np.ascontiguousarray(array.reshape(n, c // self.block, self.block, h, w).transpose(0, 1, 3, 4, 2))


def _add(block: Block, op: PackOp | UnpackOp) -> SSAValue:
    block.add_op(op)
    return op.results[0]


def one_fusion(graph: Graph, ops: Sequence[Operation]) -> FusionOp:
    """Ops of a graph as one region of products, in their place."""
    plan = Plan(graph)
    plan.claim(list(ops), "matmul", "a region of a test")
    outline(plan)
    (fusion,) = (op for op in graph.ops() if isinstance(op, FusionOp))
    return fusion


def implement(kernel: Kernel, region: Region, machine: Cpu) -> Implementation:
    """The point of least estimate."""
    space = kernel.match(region.workload(), machine)
    assert not isinstance(space, Refusal), f"{region.text}: {space.reason}"
    return space.build(min(space.points(), key=space.estimate))


def library(implementations: Sequence[Implementation], machine: Cpu) -> list[tvm.runtime.PackedFunc]:
    """All of them compiled in one module."""
    funcs = {f"k{i}": x.func for i, x in enumerate(implementations)}
    module = compiled_library(funcs, CpuBackend(machine))
    return [module[name] for name in funcs]


def compare(kernel: Kernel, regions: Sequence[Region], machine: Cpu) -> None:
    """Builds every region with `kernel` and compares its results with ONNX Runtime's."""
    functions = library([implement(kernel, region, machine) for region in regions], machine)
    for region, function in zip(regions, functions, strict=True):
        arrays = region.arrays()
        expected = region.reference(arrays)
        expected = [region.pack(array, "outputs") for array in expected]
        inputs = [tvm.runtime.tensor(region.pack(array, "inputs")) for array in arrays]
        outputs = [tvm.runtime.tensor(np.full_like(array, 77)) for array in expected]
        function(*inputs, *outputs)
        for output, array in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(output.numpy(), array, atol=region.atol, rtol=1e-4, err_msg=region.text)
