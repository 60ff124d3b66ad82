"""What of a model cannot be lowered, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.ir import Operation

from dsc.ir import OPERATORS, Fact, FusionOp, Graph, OnnxOp, WeightOp
from dsc.lower import shape_values
from dsc.lower.registry import RULES, UnsupportedOpError
from dsc.lower.walk import Walk

_REASONS = {
    "the shape of its result depends on data": (
        "NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit",
    ),
    "control flow has no lowering yet": ("If", "Loop", "Scan", "SequenceMap"),
    "its definition is a loop, and control flow has no lowering yet": ("LinearAttention",),
    "recurrent networks have no lowering yet": ("LSTM", "GRU", "RNN"),
    "random numbers have no lowering": OPERATORS[Fact.RANDOM],
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
    trial = Walk(graph)
    for op in graph.ops():
        missing = [inner for inner in _onnx_ops(op) if not _has_rule(inner)]
        found += [_of(inner, reason(inner)) for inner in missing]
        if not missing:
            try:
                trial.lower(op)
            except UnsupportedOpError as error:
                found.append(_of(error.op or op, error.why))
    return found


def is_known_to_lack(op_type: str) -> bool:
    """Whether an ONNX operator can be lowered neither by itself nor by its definition."""
    return op_type in _REASON


def reason(op: Operation) -> str:
    """Why an op without a lowering has none."""
    if isinstance(op, OnnxOp) and op.onnx_schema.domain:
        return "who registered this operator registered no lowering (dsc.lower.lowers)"
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
