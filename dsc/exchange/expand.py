"""The definition of an operator in terms of others, as ONNX gives it."""

from __future__ import annotations

import onnx.inliner
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.exchange.exporter import export_model
from dsc.exchange.importer import import_model
from dsc.ir import Graph, OnnxOp


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
    try:
        inlined = onnx.inliner.inline_selected_functions(
            export_model(graph), [("", op.onnx_name)], exclude=False, inline_schema_functions=True
        )
    except Exception as error:  # the C++ inliner raises RuntimeError and others
        raise UsageError(f"onnx.{op.onnx_name} has no definition: {error}") from error
    if any(node.op_type == op.onnx_name for node in inlined.graph.node):
        raise UsageError(f"onnx.{op.onnx_name} has no definition by other operators for these attributes")
    return import_model(inlined)
