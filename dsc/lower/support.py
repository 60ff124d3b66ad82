"""What of a model cannot be lowered, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from xdsl.ir import Operation, SSAValue

from dsc.ir import FusionOp, Graph, WeightOp, dims_of
from dsc.lower import shape_values
from dsc.lower.exprs import Scalar
from dsc.lower.registry import RULES, UnsupportedOpError, operands_of
from dsc.lower.te import output_shapes
from dsc.lower.workload import Workload

_REASONS = {
    "the shape of its result depends on data": (
        "NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit",
    ),
    "control flow has no lowering yet": ("If", "Loop", "Scan", "SequenceMap"),
    "recurrent networks have no lowering yet": ("LSTM", "GRU", "RNN"),
    "random numbers have no lowering": (
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    ),
    "sequences and optionals have no lowering": (
        "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
        "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
        "SplitToSequence",
    ),
    "strings have no lowering": ("RegexFullMatch", "StringConcat", "StringNormalizer", "TfIdfVectorizer"),
}  # fmt: skip
_REASON = {name: reason for reason, names in _REASONS.items() for name in names}


@dataclass(frozen=True)
class Unsupported:
    """An op that cannot be lowered."""

    op: str
    """The ONNX operator."""
    node: str
    """The name of the ONNX node, "" when it has none."""
    why: str

    def __str__(self) -> str:
        return f"{self.op} (node '{self.node}'): {self.why}" if self.node else f"{self.op}: {self.why}"


def unsupported(graph: Graph) -> list[Unsupported]:
    """Every op of `graph` that cannot be lowered, with the reason; each op is lowered to find out."""
    found: list[Unsupported] = []
    trial = _Trial()
    for op in graph.ops():
        missing = [inner for inner in _onnx_ops(op) if not _has_rule(inner)]
        found += [_of(inner, reason(inner)) for inner in missing]
        if not missing and not isinstance(op, WeightOp):
            try:
                trial.lower(op)
            except UnsupportedOpError as error:
                found.append(_of(error.op or op, error.why))
    return found


def reason(op: Operation) -> str:
    """Why an op without a lowering has none."""
    return _REASON.get(op.name.removeprefix("onnx."), "this operator has no lowering yet")


def _of(op: Operation, why: str) -> Unsupported:
    node = op.attributes.get("node")
    return Unsupported(op.name.removeprefix("onnx."), getattr(node, "data", ""), why)


def _onnx_ops(op: Operation) -> Iterator[Operation]:
    if isinstance(op, FusionOp):
        yield from (inner for inner in op.block.ops if inner is not op.yield_op)
    else:
        yield op


def _has_rule(op: Operation) -> bool:
    return op.name in RULES or shape_values.is_shape_op(op) or isinstance(op, WeightOp)


class _Trial:
    """Walks a graph as code generation does: dims and shape values flow from op to op."""

    def __init__(self) -> None:
        self.dims: dict[SSAValue, list[Scalar]] = {}
        self.known: dict[SSAValue, np.ndarray] = {}
        self.symbols: dict[str, tirx.Var] = {}

    def lower(self, op: Operation) -> None:
        if not isinstance(op, FusionOp) and self._evaluate(op):
            return
        for value in op.operands:
            self._sizes(value)
        workload = Workload.of(op, {v: d for v in op.operands if (d := self.dims.get(v)) is not None}, self.known)
        for result, shape in zip(op.results, output_shapes(workload), strict=True):
            self.dims[result] = shape

    def _evaluate(self, op: Operation) -> bool:
        operands = operands_of(op)
        values = shape_values.evaluate(
            op,
            [None if v is None else self.known.get(v) for v in operands],
            [None if v is None else self._sizes(v) for v in operands],
        )
        if values is not None:
            self.known[op.results[0]] = values
        return values is not None or op.name == "onnx.Constant"

    def _sizes(self, value: SSAValue) -> list[Scalar] | None:
        if value not in self.dims and (dims := dims_of(value.type)) is not None:
            self.dims[value] = [self._symbol(d) if isinstance(d, str) else d for d in dims]
        return self.dims.get(value)

    def _symbol(self, name: str) -> tirx.Var:
        name = name or f"nameless{len(self.symbols)}"
        return self.symbols.setdefault(name, tirx.Var(name, "int64"))
