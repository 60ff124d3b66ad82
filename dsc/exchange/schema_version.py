"""The oldest opset at which a node means what it means at the canonical one: what is exported should run
where opset 28 does not.
"""

from __future__ import annotations

from functools import cache

import onnx.defs
from xdsl.ir import Attribute, SSAValue

from dsc.ir import OPSET, OnnxOp, element_of
from dsc.ir.types import OptionalType, SequenceType

OLDEST = 18
"""Never go below this, so that changes of meaning without a change of form need no table beyond `_CHANGED`.
"""

_CHANGED = {"GridSample": 20, "Resize": 19}


def oldest_opset(op: OnnxOp) -> int:
    """The oldest opset, `OLDEST` at least, whose schema for this operator has the same form and takes the
    op's types. Of an operator of another domain, the one version there is.
    """
    newest = op.onnx_schema
    version = newest.since_version
    if newest.domain:
        return int(version)
    for schema in _older(op.onnx_name):
        if version <= max(OLDEST, _CHANGED.get(op.onnx_name, 0)) or not _covers(schema, newest, op):
            break
        version = schema.since_version
    return max(OLDEST, int(version))


@cache
def _older(name: str) -> list[onnx.defs.OpSchema]:
    """The schemas of an operator before its newest, newest first."""
    found, version = [], OPSET
    while version >= OLDEST:
        try:
            schema = onnx.defs.get_schema(name, version, "")
        except onnx.defs.SchemaError:
            break
        found.append(schema)
        version = schema.since_version - 1
    return found[1:]


def _covers(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema, op: OnnxOp) -> bool:
    if old.deprecated or _form(old) != _form(new) or _is_mod_of_floats(op):
        return False
    for name, attribute in new.attributes.items():
        is_set = name in op.properties or name in op.graph_attributes
        before = old.attributes.get(name)
        if before is None:
            if is_set:
                return False
        elif not is_set and before.default_value != attribute.default_value:
            return False
    takes = _takes_types(old, old.inputs, op.node_inputs())
    return takes and _takes_types(old, old.outputs, op.node_outputs())


def _is_mod_of_floats(op: OnnxOp) -> bool:
    """Before opset 28 Mod took floats with fmod=1 only."""
    return op.onnx_name == "Mod" and not op.attr("fmod") and element_of(op.A.type).dtype.kind == "f"


def _form(schema: onnx.defs.OpSchema) -> tuple[list[object], list[object]]:
    return [(p.name, p.option) for p in schema.inputs], [(p.name, p.option) for p in schema.outputs]


def _takes_types(
    schema: onnx.defs.OpSchema,
    parameters: list[onnx.defs.OpSchema.FormalParameter],
    values: tuple[SSAValue | None, ...],
) -> bool:
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    for index, value in enumerate(values):
        wanted = parameters[min(index, len(parameters) - 1)].type_str
        if value is not None and _type_string(value.type) not in allowed.get(wanted, {wanted}):
            return False
    return True


def _type_string(type_: Attribute) -> str:
    match type_:
        case SequenceType():
            return f"seq({_type_string(type_.element)})"
        case OptionalType():
            return f"optional({_type_string(type_.element)})"
        case _:
            name = element_of(type_).name
            return f"tensor({name.lower()})"
