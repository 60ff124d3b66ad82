"""Refuse models that are broken, or that use what dsc does not have."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import onnx
import onnx.checker
import onnx.defs

from dsc.errors import UnsupportedModelError
from dsc.exchange.lenient import all_nodes, as_checked
from dsc.ir.onnx import OPSET, find_operator, operator_name, registered_operators
from dsc.ir.onnx.schemas import newest_schemas

_LISTED = 20
_EQUATION = re.compile(rb"[A-Za-z,.> -]*")
_DEFAULT_DOMAIN = ("", "ai.onnx")


def check(model: onnx.ModelProto) -> None:
    """Run the ONNX checker. Raises UnsupportedModelError: what it says, or all operators it does not know."""
    try:
        onnx.checker.check_model(as_checked(model))
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        functions = {(function.domain, function.name) for function in model.functions}
        nodes = (n for n in all_nodes(model.graph.node) if (n.domain, n.op_type) not in functions)
        _refuse(filter(_is_unknown, nodes))
        text = " ".join(str(error).split())
        raise UnsupportedModelError(f"not a valid ONNX model: {text}") from error


def check_text(model: onnx.ModelProto) -> None:
    """Raise UnsupportedModelError for names and attributes that are no text: the onnx package must not see them."""
    for text in _texts(model):
        # protobuf hands out what is not UTF-8 as bytes, and the functions of the onnx package trip over them
        if not isinstance(text, str):
            raise UnsupportedModelError(f"not a valid ONNX model: the name {text!r} is not UTF-8 text")
    for node in all_nodes([*model.graph.node, *(n for f in model.functions for n in f.node)]):
        _check_attributes(node)


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """All names in a model that are kept."""
    yield from (model.producer_name, model.producer_version, model.domain, model.doc_string)
    yield from (text for p in model.metadata_props for text in (p.key, p.value))
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from _node_texts(function.node)
    yield from _graph_texts(model.graph)


def _graph_texts(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    yield graph.name
    yield from (t.name for t in graph.initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (d.dim_param for d in value.type.tensor_type.shape.dim)
    yield from _node_texts(graph.node)


def _node_texts(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _graph_texts(graph)


def _check_attributes(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        for data in (attribute.s, *attribute.strings):
            if not _is_text(data) and node.domain in _DEFAULT_DOMAIN:
                what = f"attribute {attribute.name} of {node.op_type} ({node.name!r})"
                raise UnsupportedModelError(f"not a valid ONNX model: {what} is not UTF-8 text")
        # ONNX's shape inference does not come back from an equation with other characters
        if (
            node.op_type == "Einsum"
            and node.domain in _DEFAULT_DOMAIN
            and attribute.name == "equation"
            and not _EQUATION.fullmatch(attribute.s)
        ):
            raise UnsupportedModelError(f"Einsum ({node.name!r}): {attribute.s.decode()!r} is not an equation")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_operators(graph: onnx.GraphProto) -> None:
    """Raise one UnsupportedModelError that lists all nodes whose operator is not in the onnx dialect."""
    _refuse(n for n in all_nodes(graph.node) if find_operator(n.domain, n.op_type) is None)


def check_versions(model: onnx.ModelProto) -> None:
    """Raise UnsupportedModelError for an operator of a plugin where the model imports another version of its domain.

    A domain has a version as a whole: that of its newest operator. Older operators are in it as they were.
    """
    domains = {op_type.onnx_schema.domain for op_type in registered_operators()}
    newest = {domain: max(s.since_version for s in newest_schemas(domain)) for domain in domains}
    own = {(function.domain, function.name) for function in model.functions}
    for part, nodes in [(model, model.graph.node), *((f, f.node) for f in model.functions)]:
        versions = {i.domain: i.version for i in part.opset_import if i.domain in domains}
        for node in all_nodes(nodes):
            op_type = find_operator(node.domain, node.op_type)
            if op_type is None or node.domain not in versions or (node.domain, node.op_type) in own:
                continue
            since, version = op_type.onnx_schema.since_version, versions[node.domain]
            if not since <= version <= newest[node.domain]:
                raise UnsupportedModelError(
                    f"{op_type.onnx_name} ({node.name or next(iter(node.output), '')!r}) is registered at version "
                    f"{since}, but the model imports version {version} of {node.domain}"
                )


def _is_unknown(node: onnx.NodeProto) -> bool:
    """Whether no version of ONNX has the operator, and no plugin: the checker stops at the first of these."""
    return find_operator(node.domain, node.op_type) is None and (node.domain != "" or not onnx.defs.has(node.op_type))


def _refuse(nodes: Iterable[onnx.NodeProto]) -> None:
    missing: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        missing[operator_name(node.domain, node.op_type)].append(
            node.name or f"(makes {next(iter(node.output), '')!r})"
        )
    if missing:
        remedy = "export the model with standard operators, or replace these nodes"
        if any("." in operator for operator in missing):
            remedy += "; a plugin (--plugin) can add operators of other domains"
        lines = [f"  {operator}: {_some(names)}" for operator, names in sorted(missing.items())]
        raise UnsupportedModelError(
            f"{len(missing)} operators are not among those of ONNX's default domain at opset {OPSET}:\n"
            + "\n".join(lines)
            + f"\n{remedy}"
        )


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest
