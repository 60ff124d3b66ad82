"""What ONNX Runtime takes and the ONNX checker does not: brought into the form that the checker wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx.helper

_DEFAULT = ("", "ai.onnx")


def standardize(model: onnx.ModelProto) -> None:
    """Give the graph a name and the default domain its usual one, in place."""
    model.graph.name = model.graph.name or "main"
    for imported in model.opset_import:
        imported.domain = _usual(imported.domain)
    for function in model.functions:
        for imported in function.opset_import:
            imported.domain = _usual(imported.domain)
    for node in all_nodes([*model.graph.node, *(n for f in model.functions for n in f.node)]):
        node.domain = _usual(node.domain)


def as_checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model to show to the checker; a copy where something in it is not to the checker's liking.

    Inputs and outputs without type or shape have some. GroupNormalization of opset 18 to 20, deprecated but exported
    by PyTorch, is an Identity.
    """
    undeclared = [v.name for v in (*model.graph.input, *model.graph.output) if not _is_declared(v)]
    if not undeclared and not any(map(_is_deprecated, all_nodes(model.graph.node))):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        if not _is_declared(value):
            value.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, []))
    for node in filter(_is_deprecated, all_nodes(copy.graph.node)):
        node.op_type = "Identity"
        del node.input[1:]
        del node.attribute[:]
    return copy


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from all_nodes(graph.node)


def _usual(domain: str) -> str:
    return "" if domain in _DEFAULT else domain


def _is_declared(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") == "tensor_type":
        return bool(tensor.elem_type) and tensor.HasField("shape")
    return value.type.WhichOneof("value") is not None


def _is_deprecated(node: onnx.NodeProto) -> bool:
    """Whether it may be: newer opsets have an operator of that name which the checker would take as it is."""
    return node.op_type == "GroupNormalization" and node.domain in _DEFAULT and len(node.input) == 3
