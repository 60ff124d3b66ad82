"""From "the outputs differ" to the op that is to blame.

Two kinds of fault are told apart. A rewrite is wrong when the graph after it, exported and run by ONNX
Runtime, differs from the model. A kernel is wrong when the final graph on ONNX Runtime is right and the
compiled module is not; then the graph is compiled once more with every intermediate value as an output, and
the first value that differs is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from dsc.check.compare import OutputError, compare
from dsc.check.reference import Reference
from dsc.check.verify import TOLERANCE, Runnable
from dsc.exchange import export_model
from dsc.ir import FusionOp, Graph, OnnxOp, WeightOp, describe, onnx

Inputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Culprit:
    """The first op whose inputs are right and whose output is wrong.

    what: the op's text in the IR. nodes: names of the ONNX nodes it came from. error: of its output.
    inputs: the largest relative error among its inputs, within the tolerance.
    """

    what: str
    nodes: tuple[str, ...]
    error: OutputError
    inputs: float

    def __str__(self) -> str:
        nodes = f"\n  from ONNX nodes {', '.join(self.nodes)}" if self.nodes else ""
        return f"first wrong op: {self.what}{nodes}\n  {self.error}; its inputs: {self.inputs:.2e}"


def first_wrong_stage(
    stages: Iterable[tuple[str, Graph]], expected: Inputs, inputs: Inputs, tolerance: float = TOLERANCE
) -> tuple[str, OutputError] | None:
    """The first (name, graph) whose graph, run by ONNX Runtime, differs from `expected`; None if none does.

    stages: the graph after each phase of the compiler, in order. The error is that of the worst output.
    """
    for name, graph in stages:
        found = Reference(export_model(graph), optimized=False).run(inputs)
        errors = [compare(output, array, found[output]) for output, array in expected.items()]
        wrong = [error for error in errors if not error.within(tolerance)]
        if wrong:
            return name, max(wrong, key=lambda error: error.relative)
    return None


def first_wrong_kernel(
    graph: Graph, build: Callable[[Graph], Runnable], inputs: Inputs, tolerance: float = TOLERANCE
) -> Culprit | None:
    """The first top-level op of `graph` that is right in ONNX Runtime and wrong as compiled.

    build: compiles a graph as it stands, without further passes. None: every op is right when all values
    are outputs, so the fault is in what lies between the kernels (buffers that are shared too early, for
    example).
    """
    tapped, ops = _tap(graph)
    names = tapped.output_names
    expected = Reference(export_model(tapped), optimized=False).run(inputs)
    actual = build(tapped).run(inputs)
    errors = {value: compare(name, expected[name], actual[name]) for value, name in zip(ops, names, strict=True)}
    for value, error in errors.items():
        if error.mismatch or error.relative > tolerance:
            op = value.owner
            assert isinstance(op, Operation)
            before = max((errors[v].relative for v in op.operands if v in errors), default=0.0)
            return Culprit(describe(op), _nodes(op), error, before)
    return None


def _tap(graph: Graph) -> tuple[Graph, list[SSAValue]]:
    """A copy with all computed tensors as outputs, and these values of the copy in topological order."""
    tapped = graph.clone()
    constants = (WeightOp, onnx.Constant)
    values = [
        value
        for op in tapped.ops()
        if not isinstance(op, constants)
        for value in op.results
        if isinstance(value.type, TensorType)
    ]
    tapped.set_outputs([(f"value_{index}", value) for index, value in enumerate(values)])
    return tapped, list(values)


def _nodes(op: Operation) -> tuple[str, ...]:
    inner = op.block.ops if isinstance(op, FusionOp) else (op,)
    names = [part.node for part in inner if isinstance(part, OnnxOp) and part.node]
    return tuple(dict.fromkeys(names))
