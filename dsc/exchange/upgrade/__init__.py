"""Bring a model of any opset from 7 on to the canonical opset, in place.

onnx.version_converter is not used: it leaves the nodes of subgraphs as they are, drops names and metadata on
the way through its own graph form, and has no way over several of the steps below. Between opset 7 and today
some 120 operators changed, but most only took more element types; the rules here are the rest, one for each
change of meaning or form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx.defs
import onnx.helper
import onnx.shape_inference

from dsc.errors import UnsupportedModelError
from dsc.exchange.lenient import all_nodes
from dsc.exchange.upgrade import attributes_to_inputs, contrib, meaning, resize
from dsc.exchange.upgrade.edit import RULES, Edit
from dsc.ir.onnx import OPSET, find_operator

OLDEST = 7
"""The oldest opset that is read whole; of older ones the operators that are still as they were then."""

__all__ = ["OLDEST", "RULES", "attributes_to_inputs", "contrib", "meaning", "opset_of", "resize", "upgrade_model"]


def opset_of(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """The version of the default domain; `OPSET` where it is not imported.

    Raises UnsupportedModelError for one that is newer, or none.
    """
    versions = [i.version for i in imports if i.domain in ("", "ai.onnx")]
    version: int = versions[0] if versions else OPSET
    if not 1 <= version <= OPSET:
        raise UnsupportedModelError(
            f"opset {version} is not supported: {OLDEST} to {OPSET} are, and older ones where no operator changed since"
        )
    return version


def _check_age(graph: onnx.GraphProto, version: int) -> None:
    """Raise UnsupportedModelError naming the operators of a model from before `OLDEST` that changed since."""
    if version >= OLDEST:
        return
    used = {n.op_type for n in all_nodes(graph.node) if not n.domain}
    changed = sorted(op for op in used if _since(op, version) != _since(op, OLDEST))
    if changed:
        raise UnsupportedModelError(
            f"opset {version} is too old: {OLDEST} to {OPSET} are supported, and {', '.join(changed)} changed since"
        )


def _since(op_type: str, version: int) -> int:
    """The opset of the operator's definition at `version`; 0 if it has none."""
    try:
        return int(onnx.defs.get_schema(op_type, version, "").since_version)
    except onnx.defs.SchemaError:
        return 0


def upgrade_model(model: onnx.ModelProto, to: int | None = None) -> None:
    """Rewrite all nodes, those of subgraphs too, for `OPSET`, or for an older opset than that. Raises
    UnsupportedModelError where that cannot be done.

    to: the opset wanted, above the model's own; operators of other domains then stay what they are.
    """
    version = opset_of(model.opset_import)
    _check_age(model.graph, version)
    ranks = _ranks(model) if _needs_ranks(model.graph, version) else {}
    names, given = set(_names(model.graph)), _given(model.graph)

    def fresh(base: str) -> str:
        name, count = base, 0
        while name in names:
            name, count = f"{base}_{count}", count + 1
        names.add(name)
        return name

    for graph in _graphs(model.graph):
        nodes = [new for node in graph.node for new in _upgraded(Edit(node, ranks, fresh, given), version, to)]
        del graph.node[:]
        graph.node.extend(nodes)
    others = [i for i in model.opset_import if i.domain not in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", to or OPSET), *others])


def _upgraded(edit: Edit, version: int, to: int | None) -> list[onnx.NodeProto]:
    node = edit.node
    if node.domain and find_operator(node.domain, node.op_type) is not None:
        return [node]  # a plugin's
    if to is None and node.domain == contrib.DOMAIN and node.op_type in contrib.RULES:
        contrib.RULES[node.op_type](edit)
        return [*edit.before, node]
    if node.domain not in ("", "ai.onnx"):
        return [node]
    at = version
    while rule := next(
        ((new, r) for new, r in RULES.get(node.op_type, []) if new > at and (not to or new <= to)), None
    ):
        at = rule[0]
        rule[1](edit)
    return [*edit.before, node, *edit.after]


def _needs_ranks(graph: onnx.GraphProto, version: int) -> bool:
    return version < 13 and any(
        n.op_type in ("Softmax", "LogSoftmax", "Hardmax") for g in _graphs(graph) for n in g.node
    )


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    try:
        typed = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return {}
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for graph in _graphs(typed.graph)
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }


def _given(graph: onnx.GraphProto) -> dict[str, int]:
    """Element types of inputs and initializers; large weights are inputs by now."""
    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _graphs(inner)


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    for inner in _graphs(graph):
        yield from (v.name for v in (*inner.input, *inner.initializer))
        yield from (name for node in inner.node for name in node.output)
