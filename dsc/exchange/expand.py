"""The definition of an operator in terms of others, as ONNX gives it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.defs
import onnx.helper
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.exchange.exporter import export_model
from dsc.exchange.importer import import_model
from dsc.exchange.upgrade import opset_of
from dsc.ir import Graph, OnnxOp

_DOMAIN = "dsc.definition"


def has_definition(op: type[OnnxOp]) -> bool:
    """Whether ONNX defines the operator by a function of others."""
    schema = op.onnx_schema
    return bool(schema.has_function or schema.has_context_dependent_function)


def definition(op: OnnxOp, constants: dict[SSAValue, OnnxOp]) -> Graph:
    """A graph of what the op computes: its inputs are the op's operands without the `constants`, its outputs
    the op's results.

    constants: operands made by small constants, which the definition may depend on (they are put inside).
    Raises UsageError where ONNX has no definition of the operator, or none for these attributes.
    """
    distinct = [v for v in dict.fromkeys(op.operands) if v not in constants]
    graph = Graph.build([(f"x{i}", v.type) for i, v in enumerate(distinct)])
    mapped: dict[SSAValue, SSAValue] = dict(zip(distinct, graph.inputs, strict=True))
    for value, constant in constants.items():
        copy = constant.clone()
        graph.body.add_op(copy)
        mapped[value] = copy.results[0]
    copy = op.clone(value_mapper=mapped)
    # ONNX's inliner does not fill in the defaults of attributes that the function body refers to
    copy.properties.update(
        {n: a for n, a in op.properties_of(op.schema_defaults()).items() if n not in copy.properties}
    )
    graph.body.add_op(copy)
    graph.set_outputs([(f"y{i}", result) for i, result in enumerate(copy.results)])
    model = export_model(graph)
    (node,) = (n for n in model.graph.node if n.op_type == op.onnx_name)
    function = _function(type(op), node, {v.name: v.type for v in model.graph.input})
    # a model of the opset that the body was written for, which is nothing but a call: the importer does the rest
    node.domain = function.domain = _DOMAIN
    own = onnx.helper.make_opsetid("", opset_of(function.opset_import))
    del model.opset_import[:]
    model.opset_import.extend([own, onnx.helper.make_opsetid(_DOMAIN, 1)])
    model.functions.append(function)
    return import_model(model)


def _function(op: type[OnnxOp], node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto]) -> onnx.FunctionProto:
    """The newest body that ONNX has for the operator, given a node of it and the types of its operands.

    ONNX's own inliner of operators is not used: it stops at an absent operand in the middle.
    """
    schema = op.onnx_schema
    try:
        if schema.has_context_dependent_function:
            given = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
            version = schema.context_dependent_function_opset_versions[-1]
            data = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), given)
        else:
            data = schema.get_function_with_opset_version(schema.function_opset_versions[-1])
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"onnx.{op.onnx_name} has no definition: {error}") from error
    function = onnx.FunctionProto.FromString(data)
    if not function.node:
        raise UsageError(f"onnx.{op.onnx_name} has no definition by other operators for these attributes")
    return function
