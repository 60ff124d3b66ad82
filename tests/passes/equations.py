"""A table of rewrites as tests: a graph before, its ops after, and the same numbers from ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dsc.exchange import export_model
from dsc.ir import Graph, OnnxOp, WeightOp, dims_of, onnx, tensor
from dsc.passes import PassRecord, rewrite
from dsc.passes.rule import Rule
from tests.exchange.models import assert_close, run

Dims = Sequence[int | str]


@dataclass
class Builder:
    """Builds a graph op by op: `b("Relu", x)`; arrays are constants, strings name inputs."""

    graph: Graph
    rng: np.random.Generator
    made: list[SSAValue] = field(default_factory=list)

    def __call__(self, name: str, *operands: Any, **attributes: Any) -> SSAValue:
        return self.op(name, *operands, **attributes).results[0]

    def op(self, name: str, *operands: Any, **attributes: Any) -> OnnxOp:
        made = onnx.OPS[name].make(*[self._value(o) for o in operands], **attributes)
        self.graph.body.add_op(made)
        return made

    def c(self, *shape: int, positive: bool = False) -> np.ndarray:
        """A random float32 constant."""
        array = self.rng.standard_normal(shape, np.float32)
        return np.abs(array) + np.float32(0.5) if positive else array

    def _value(self, operand: Any) -> SSAValue | None:
        if operand is None or isinstance(operand, SSAValue):
            return operand
        array = np.asarray(operand, np.float32) if isinstance(operand, float) else np.asarray(operand)
        op = self.graph.make_constant(array)
        self.graph.body.add_op(op)
        return op.results[0]


def build(dims: Dims, body: Callable[[Builder, SSAValue], Any], dtype: Any = np.float32) -> Graph:
    """The graph of `y = body(x)`; the body returns one value or several."""
    shape = [d if isinstance(d, int) else -1 for d in dims]
    graph = Graph.build([("x", tensor(dtype, shape, [d if isinstance(d, str) else "" for d in dims]))])
    result = body(Builder(graph, np.random.default_rng(0)), graph.inputs[0])
    values = list(result) if isinstance(result, list | tuple) else [result]
    graph.set_outputs([(f"y{i}", v) for i, v in enumerate(values)])
    graph.verify()
    return graph


def ops(graph: Graph) -> list[str]:
    """The ONNX names of the ops, constants and weights left out."""
    found = [op for op in graph.ops() if not isinstance(op, WeightOp | onnx.Constant)]
    return [op.onnx_name if isinstance(op, OnnxOp) else op.name for op in found]


def feeds(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; dynamic dims are 2, 3, 5 by name."""
    rng, sizes = np.random.default_rng(seed), {}
    found = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        dims = dims_of(value.type) or ()
        shape = [d if isinstance(d, int) else sizes.setdefault(d, (2, 3, 5, 7)[len(sizes)]) for d in dims]
        kind = graph_dtype(value)
        array = rng.standard_normal(shape) * 2 if kind.kind == "f" else rng.integers(0, 2, shape)
        found[name] = array.astype(kind)
    return found


def graph_dtype(value: SSAValue) -> np.dtype[Any]:
    from dsc.ir import element_of

    return element_of(value.type).dtype


def assert_same_numbers(before: Graph, after: Graph, tolerance: float = 1e-5) -> None:
    """Both graphs in ONNX Runtime give the same outputs for random inputs."""
    given = feeds(before)
    assert_close(run(export_model(after), given), run(export_model(before), given), tolerance)


def apply(graph: Graph, *rules: Rule) -> PassRecord:
    """Apply rules alone, until none fires."""
    record = PassRecord("test")
    rewrite(graph, rules, record)
    graph.verify()
    return record
