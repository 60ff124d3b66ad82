"""ModelProto (checked, of the canonical opset, with types) -> Graph."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx.helper
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Region, SSAValue

from dsc.errors import DscError, UnsupportedModelError
from dsc.exchange.payload import array_of_sparse, array_of_tensor
from dsc.ir import SMALL_CONSTANT, Graph, OnnxOp, WeightStore, YieldOp, name_hint
from dsc.ir.onnx import find_operator, operator_name
from dsc.ir.onnx.infer import from_type_proto

_Scope = MutableMapping[str, SSAValue]
_Types = Mapping[str, onnx.TypeProto]


def build_graph(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> Graph:
    """The Graph of a model (whose top-level initializers are `weights`, and are dropped). Raises
    UnsupportedModelError for types dsc has not.
    """
    inputs = [v for v in model.graph.input if v.name not in weights]
    graph = Graph.build(
        [(v.name, _type(v.name, v.type)) for v in inputs],
        WeightStore(),
        model.graph.name or "main",
        _metadata(model),
    )
    scope: _Scope = {v.name: argument for v, argument in zip(inputs, graph.inputs, strict=True)}
    builder = _Builder(graph)
    builder.define_weights(model.graph, weights, scope)
    del model.graph.initializer[:]  # they are among the weights
    builder.fill(graph.body, model.graph, scope, {})
    names = dict.fromkeys(v.name for v in model.graph.output)  # an output that is listed twice is one
    graph.set_outputs([(name, builder.value(name, scope)) for name in names])
    return graph


class _Builder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def define_weights(self, proto: onnx.GraphProto, weights: Mapping[str, np.ndarray], scope: _Scope) -> None:
        """Ops for the weights that something uses."""
        used = _used_names(proto)
        store = self._graph.weights
        for name, array in weights.items():
            if name not in used:
                continue
            if array.size <= SMALL_CONSTANT or array.dtype == np.object_:
                op = self._graph.make_constant(array)
            else:
                # put, not add: to compare contents now would read every weight
                stored = store.put(name, array.dtype, array.shape, partial(np.asarray, array))
                op = self._graph.weight_op(stored)
            self._append(self._graph.body, op, [name], scope)

    def fill(self, block: Block, proto: onnx.GraphProto, scope: _Scope, outer: _Types) -> None:
        """Append the nodes of a graph or subgraph to a block."""
        own = {v.name: v.type for v in (*proto.input, *proto.output, *proto.value_info)}
        types: _Types = ChainMap(own, outer)  # type: ignore[arg-type]
        for tensor in proto.initializer:
            self._append(block, self._graph.make_constant(array_of_tensor(tensor), tensor.name), [tensor.name], scope)
        for sparse in proto.sparse_initializer:
            name = sparse.values.name
            self._append(block, self._graph.make_constant(array_of_sparse(sparse), name), [name], scope)
        for node in proto.node:
            try:
                self._append(block, self._op(node, scope, types), list(node.output), scope)
            except DscError as error:
                operator = operator_name(node.domain, node.op_type)
                raise UnsupportedModelError(f"{operator} ({node.name or node.output[0]!r}): {error}") from error

    def value(self, name: str, scope: _Scope) -> SSAValue:
        """The value of a name."""
        if name not in scope:
            raise UnsupportedModelError(f"value {name!r} is used, but nothing makes it")
        return scope[name]

    def _append(self, block: Block, op: Any, names: list[str], scope: _Scope) -> None:
        block.add_op(op)
        results = op.node_outputs() if isinstance(op, OnnxOp) else op.results
        for name, result in zip(names, results, strict=False):
            if name and result is not None:
                result.name_hint = name_hint(name)
                scope[name] = result

    def _op(self, node: onnx.NodeProto, scope: _Scope, types: _Types) -> Any:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type == "Constant" and not node.domain:
            op = self._graph.make_constant(_constant(attributes), node.output[0])
            if node.name:
                op.attributes["node"] = StringAttr(node.name)
            return op
        cls = find_operator(node.domain, node.op_type)
        assert cls is not None, "check_operators refuses others"
        return cls.make(
            *[self.value(name, scope) if name else None for name in node.input],
            result_types=[_type(name, types.get(name)) if name else None for name in node.output],
            regions=[self._region(attributes[n].g, scope, types) for n in cls.graph_attributes],
            node=node.name or None,
            **{n: _python(a) for n, a in attributes.items() if n not in cls.graph_attributes},
        )

    def _region(self, proto: onnx.GraphProto, outer: _Scope, types: _Types) -> Region:
        block = Block(arg_types=[_type(v.name, v.type) for v in proto.input])
        scope: _Scope = ChainMap({}, outer)
        for value, argument in zip(proto.input, block.args, strict=True):
            argument.name_hint = name_hint(value.name)
            scope[value.name] = argument
        self.fill(block, proto, scope, types)
        block.add_op(YieldOp(*[self.value(v.name, scope) for v in proto.output]))
        return Region(block)


def _type(name: str, proto: onnx.TypeProto | None) -> Attribute:
    if proto is None or proto.WhichOneof("value") is None:
        raise UnsupportedModelError(f"the type of {name!r} cannot be inferred; write it into the model's value_info")
    try:
        return from_type_proto(proto)
    except DscError as error:
        raise UnsupportedModelError(f"{name!r}: {error}") from error


def _constant(attributes: Mapping[str, onnx.AttributeProto]) -> np.ndarray:
    (name, attribute), *_ = attributes.items()
    if name == "value":
        return array_of_tensor(attribute.t)
    if name == "sparse_value":
        return array_of_sparse(attribute.sparse_tensor)
    dtype = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    return np.asarray(_python(attribute), dtype.get(name, np.object_))


def _python(attribute: onnx.AttributeProto) -> Any:
    match attribute.type:
        case onnx.AttributeProto.TENSOR:
            return array_of_tensor(attribute.t)
        case onnx.AttributeProto.TYPE_PROTO:
            return from_type_proto(attribute.tp)
        case _:
            return onnx.helper.get_attribute_value(attribute)


def _used_names(graph: onnx.GraphProto) -> set[str]:
    names = {v.name for v in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= _used_names(attribute.g)
    return names


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    own = {
        "onnx.producer_name": model.producer_name,
        "onnx.producer_version": model.producer_version,
        "onnx.domain": model.domain,
        "onnx.model_version": str(model.model_version or ""),
        "onnx.doc_string": model.doc_string,
    }
    return {k: v for k, v in own.items() if v} | {p.key: p.value for p in model.metadata_props}
