"""The operation classes of the onnx dialect, generated from the schemas that the onnx package carries."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx.defs
from onnx.defs import OpSchema
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    AttrSizedResultSegments,
    IRDLOption,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    opt_result_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import Pure, RecursiveMemoryEffect

from dsc.errors import UsageError
from dsc.ir.onnx.base import OnnxOp
from dsc.ir.onnx.facts import Fact, facts_of
from dsc.ir.onnx.names import operator_name

_Option = OpSchema.FormalParameterOption
_OPERAND: dict[object, Callable[[AnyAttr], object]] = {
    _Option.Single: operand_def, _Option.Optional: opt_operand_def, _Option.Variadic: var_operand_def,
}  # fmt: skip
_RESULT: dict[object, Callable[[AnyAttr], object]] = {
    _Option.Single: result_def, _Option.Optional: opt_result_def, _Option.Variadic: var_result_def,
}  # fmt: skip

_SET_HERE = {"onnx_name", "onnx_schema", "graph_attributes"}
"""What `op_class` sets on a finished class."""


def newest_schemas(domain: str = "") -> list[OpSchema]:
    """The newest schema of every operator of a domain that is not deprecated."""
    return sorted(
        (s for s in onnx.defs.get_all_schemas() if s.domain == domain and not s.deprecated),
        key=lambda s: s.name,
    )


def op_class(schema: OpSchema, facts: Collection[Fact]) -> type[OnnxOp]:
    """The class for an operator: `onnx.<name>` with the schema's operands, results, attributes and regions; the name
    has the domain in it where that is not the default one.

    facts: what is true of it. Raises UsageError for names that an op has of its own.
    """
    onnx_name = operator_name(schema.domain, schema.name)
    graphs = tuple(n for n, a in schema.attributes.items() if a.type.name == "GRAPH")
    fields: dict[str, object] = {
        "name": f"onnx.{onnx_name}",
        "traits": _traits(facts, graphs),
        "irdl_options": _segment_options(schema),
        "__doc__": f"ONNX operator {onnx_name}, version {schema.since_version}.",
        "__module__": "dsc.ir.onnx",
    }
    own: dict[str, object] = {parameter.name: _OPERAND[parameter.option](AnyAttr()) for parameter in schema.inputs}
    own |= {parameter.name: _RESULT[parameter.option](AnyAttr()) for parameter in schema.outputs}
    for name, attribute in schema.attributes.items():
        if name in graphs:
            own[name] = region_def()
        else:
            own[name] = prop_def(AnyAttr()) if attribute.required else opt_prop_def(AnyAttr())
    if clash := sorted(set(own) & {*dir(OnnxOp), *fields, *_SET_HERE}):
        raise UsageError(
            f"{onnx_name}: the name {clash[0]} is one that every op has; rename the input, output or attribute"
        )
    cls: type[OnnxOp] = irdl_op_definition(type(schema.name, (OnnxOp,), fields | own))
    cls.onnx_name = onnx_name
    cls.onnx_schema = schema
    cls.graph_attributes = graphs
    return cls


def _traits(facts: Collection[Fact], graphs: tuple[str, ...]) -> object:
    if graphs:
        return traits_def(RecursiveMemoryEffect())
    return traits_def() if Fact.RANDOM in facts else traits_def(Pure())


def _segment_options(schema: OpSchema) -> tuple[IRDLOption, ...]:
    options: list[IRDLOption] = []
    if sum(i.option != _Option.Single for i in schema.inputs) > 1:
        options.append(AttrSizedOperandSegments(as_property=True))
    if sum(o.option != _Option.Single for o in schema.outputs) > 1:
        options.append(AttrSizedResultSegments(as_property=True))
    return tuple(options)


def op_classes() -> dict[str, type[OnnxOp]]:
    """All operators of the default domain by name."""
    return {schema.name: op_class(schema, facts_of(schema.name)) for schema in newest_schemas()}


__all__ = ["newest_schemas", "op_class", "op_classes"]
