"""Building small graphs in tests, and running graphs on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from xdsl.ir import SSAValue

from dsc.exchange import export_model
from dsc.ir import FusionOp, Graph, OnnxOp, dims_of, element_of, onnx
from dsc.ir.types import tensor_of_dims

F32 = element_of(onnx.Constant.make(value=np.float32(0)).out.type).mlir


class Net:
    """A graph under construction: `net.Conv(x, array, pads=[1, 1, 1, 1])` adds an op and returns its first
    result."""

    def __init__(self, **inputs: Sequence[int | str]):
        self.graph = Graph.build([(name, tensor_of_dims(F32, dims)) for name, dims in inputs.items()])
        self.rng = np.random.default_rng(7)

    def __getattr__(self, name: str):
        return lambda *operands, **attributes: self.op(getattr(onnx, name), *operands, **attributes).results[0]

    def inputs(self) -> tuple[SSAValue, ...]:
        return self.graph.inputs

    def op(self, cls: type[OnnxOp], *operands: SSAValue | np.ndarray | float | None, **attributes) -> OnnxOp:
        op = cls.make(*[self.value(v) for v in operands], **attributes)
        self.graph.body.add_op(op)
        return op

    def value(self, value) -> SSAValue | None:
        """Arrays and numbers become constants."""
        if value is None or isinstance(value, SSAValue):
            return value
        array = np.float32(value) if isinstance(value, float) else np.asarray(value)
        op = self.graph.make_constant(np.asarray(array))
        self.graph.body.add_op(op)
        return op.results[0]

    def random(self, *shape: int) -> np.ndarray:
        """A seeded random float32 array, of variance 1 over its first dim's fan-in."""
        return (self.rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)

    def done(self, *outputs: SSAValue) -> Graph:
        self.graph.set_outputs([(f"out{i}", v) for i, v in enumerate(outputs)])
        self.graph.verify()
        return self.graph


def feeds(graph: Graph, sizes: Mapping[str, int] | None = None, seed: int = 3) -> dict[str, np.ndarray]:
    """Random inputs; `sizes` says how large the named dims are."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        shape = [(sizes or {})[d] if isinstance(d, str) else d for d in dims_of(value.type) or ()]
        found[name] = rng.standard_normal(shape).astype(np.float32)
    return found


def run(graph: Graph, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs by ONNX Runtime, without its own optimizations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    model = export_model(graph).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, dict(inputs))


def check_same(before: Graph, after: Graph, sizes: Mapping[str, int] | None = None, tolerance: float = 1e-5) -> None:
    """Both graphs compute the same. The tolerance is for sums in another order, in float32."""
    inputs = feeds(before, sizes)
    for expected, found in zip(run(before, inputs), run(after, inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))


def summary(graph: Graph) -> list[str]:
    """The top-level ops in order: "conv(Conv Relu)" for a fusion, the plain name for others; constants left
    out."""
    return [_describe(op) for op in graph.ops() if op.name not in ("onnx.Constant", "dsc.weight")]


def _describe(op) -> str:
    if not isinstance(op, FusionOp):
        return op.name.split(".")[1]
    inner = [o.name.split(".")[1] for o in op.block.ops if o.name not in ("onnx.Constant", "dsc.yield")]
    return f"{op.kind.data}({' '.join(inner)})"
