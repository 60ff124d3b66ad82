"""Refuse models that are broken, or that use what dsc does not have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import onnx
import onnx.checker
import onnx.defs

from dsc.errors import UnsupportedModelError
from dsc.ir.onnx import OPS, OPSET

_LISTED = 20
_DEFAULT_DOMAIN = ("", "ai.onnx")


def check(model: onnx.ModelProto) -> None:
    """Run the ONNX checker. Raises UnsupportedModelError: what it says, or all operators it does not know."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        functions = {(function.domain, function.name) for function in model.functions}
        nodes = (n for n in _nodes(model.graph.node) if (n.domain, n.op_type) not in functions)
        _refuse(filter(_is_unknown, nodes))
        text = " ".join(str(error).split())
        raise UnsupportedModelError(f"not a valid ONNX model: {text}") from error


def check_operators(graph: onnx.GraphProto) -> None:
    """Raise one UnsupportedModelError that lists all nodes whose operator is not in the onnx dialect."""
    _refuse(n for n in _nodes(graph.node) if n.domain not in _DEFAULT_DOMAIN or n.op_type not in OPS)


def _is_unknown(node: onnx.NodeProto) -> bool:
    """Whether no version of ONNX has the operator: the checker stops at the first of these."""
    return node.domain not in _DEFAULT_DOMAIN or not onnx.defs.has(node.op_type)


def _refuse(nodes: Iterable[onnx.NodeProto]) -> None:
    missing: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
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
