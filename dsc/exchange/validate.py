"""Refuse models that are broken, or that use what dsc does not have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import onnx
import onnx.checker

from dsc.errors import UnsupportedModelError
from dsc.ir.onnx import OPS, OPSET

_LISTED = 20


def check(model: onnx.ModelProto) -> None:
    """Run the ONNX checker. Raises UnsupportedModelError with what it says."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise UnsupportedModelError(f"not a valid ONNX model: {text}") from error


def check_operators(graph: onnx.GraphProto) -> None:
    """Raise one UnsupportedModelError that lists all nodes whose operator is not in the onnx dialect."""
    missing: dict[str, list[str]] = defaultdict(list)
    for node in _nodes(graph.node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPS:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            missing[operator].append(node.name or f"(makes {next(iter(node.output), '')!r})")
    if missing:
        lines = [f"  {operator}: {_some(names)}" for operator, names in sorted(missing.items())]
        raise UnsupportedModelError(
            f"{len(missing)} operators are not among those of ONNX's default domain at opset {OPSET}:\n"
            + "\n".join(lines)
            + "\nexport the model with standard operators, or replace these nodes"
        )


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _nodes(graph.node)
