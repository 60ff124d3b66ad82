"""OnnxOp: what all operations of the onnx dialect share: a builder and attribute access with Python
values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import onnx.helper
from onnx.defs import OpSchema
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import IRDLOperation

from dsc.errors import UsageError
from dsc.ir.onnx.attributes import AttributeValue, to_attribute, to_python
from dsc.ir.onnx.infer import infer_result_types

_VARIADIC = OpSchema.FormalParameterOption.Variadic
_SINGLE = OpSchema.FormalParameterOption.Single


class OnnxOp(IRDLOperation):
    """Base of the generated classes. Operands, results and attributes have their ONNX names: `op.X`,
    `op.strides`."""

    if TYPE_CHECKING:  # set by schemas.op_class: xDSL takes every field in a class body for a definition
        onnx_name: ClassVar[str]
        """The name of the operator, e.g. "Conv"; that of another domain has it before the name: "com.mine.Swoosh"."""
        onnx_schema: ClassVar[OpSchema]
        graph_attributes: ClassVar[tuple[str, ...]]
        """The names of the GRAPH attributes, which are regions here, in the order of the regions."""

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def make(
        cls,
        *operands: SSAValue | None,
        outputs: int | None = None,
        result_types: Sequence[Attribute | None] | None = None,
        regions: Sequence[Region] = (),
        node: str | None = None,
        **attributes: AttributeValue | SSAValue | None,
    ) -> Self:
        """Build the operation, e.g. `onnx.Conv.make(x, w, b, strides=[1, 1])`.

        operands: by position, None where an optional one is absent; they may be given by name as well.
        outputs: how many leading outputs are wanted; by default all that are not optional.
        result_types: by position of the schema's outputs, None for absent ones; inferred when not given.
        regions: bodies of control flow, in the order of `graph_attributes`.
        node: name of the ONNX node, for messages.
        attributes: Python values; None and attributes not given are left to the schema's default.
        """
        named = {n: attributes.pop(n) for n in list(attributes) if n in _input_names(cls.onnx_schema)}
        grouped = _group(cls, operands, named)
        properties = cls.properties_of(attributes)  # type: ignore[arg-type]
        if result_types is None:
            count = outputs if outputs is not None else cls._default_outputs(properties)
            result_types = infer_result_types(cls.onnx_schema, grouped, properties, count, node)
        return cls.build(
            operands=grouped,
            result_types=_group_results(cls.onnx_schema, result_types),
            properties=properties,
            attributes={"node": StringAttr(node)} if node else {},
            regions=list(regions),
        )

    @classmethod
    def properties_of(cls, values: Mapping[str, AttributeValue | None]) -> dict[str, Attribute]:
        """The properties for Python attribute values; raises UsageError for names the operator does not
        have."""
        schema = cls.onnx_schema.attributes
        if unknown := sorted(set(values) - set(schema)):
            raise UsageError(f"onnx.{cls.onnx_name} has no attribute {', '.join(unknown)}; it has {', '.join(schema)}")
        return {n: to_attribute(schema[n].type.name, v) for n, v in values.items() if v is not None}

    @classmethod
    def _default_outputs(cls, properties: Mapping[str, Attribute]) -> int:
        if "num_outputs" in properties:
            return int(to_python(properties["num_outputs"]))  # type: ignore[arg-type]
        single = [o for o in cls.onnx_schema.outputs if o.option == _SINGLE]
        return max(1, len(single))

    @property
    def out(self) -> SSAValue:
        """The first result."""
        return self.results[0]

    @property
    def node(self) -> str:
        """The name of the ONNX node this came from; "" when it has none."""
        name = self.attributes.get("node")
        return name.data if isinstance(name, StringAttr) else ""

    def attr(self, name: str, default: Any = None) -> Any:
        """Python value of an attribute: what is set, else the schema's default, else `default`."""
        if name in self.properties:
            return to_python(self.properties[name])
        return self.schema_defaults().get(name, default)

    def attrs(self) -> dict[str, Any]:
        """Python values of the attributes that are set: `type(op).make(*operands, **op.attrs())` builds its
        like."""
        known = self.onnx_schema.attributes
        return {n: to_python(a) for n, a in self.properties.items() if n in known}

    @classmethod
    def schema_defaults(cls) -> dict[str, AttributeValue]:
        """Python values of the defaults that the schema gives."""
        return _schema_defaults(cls)

    def node_inputs(self) -> tuple[SSAValue | None, ...]:
        """Operands by position of the ONNX node: None where absent, variadic ones spread, no trailing
        None."""
        return self._by_position(self.onnx_schema.inputs)

    def node_outputs(self) -> tuple[SSAValue | None, ...]:
        """Results by position of the ONNX node, as `node_inputs`."""
        return self._by_position(self.onnx_schema.outputs)

    def _by_position(self, parameters: Sequence[OpSchema.FormalParameter]) -> tuple[SSAValue | None, ...]:
        flat: list[SSAValue | None] = []
        for parameter in parameters:
            value = getattr(self, parameter.name)
            flat.extend(value) if parameter.option == _VARIADIC else flat.append(value)
        while flat and flat[-1] is None:
            flat.pop()
        return tuple(flat)


@cache
def _schema_defaults(op_type: type[OnnxOp]) -> dict[str, AttributeValue]:
    given = {n: a.default_value for n, a in op_type.onnx_schema.attributes.items() if a.default_value.type}
    values = {n: onnx.helper.get_attribute_value(p) for n, p in given.items()}
    return {n: v.decode() if isinstance(v, bytes) else v for n, v in values.items()}


def _input_names(schema: OpSchema) -> set[str]:
    return {i.name for i in schema.inputs}


def _group(cls: type[OnnxOp], operands: Sequence[SSAValue | None], named: Mapping[str, Any]) -> list[list[SSAValue]]:
    """Operands given by position and name, as one list for each input of the schema."""
    schema = cls.onnx_schema
    groups: list[list[SSAValue]] = []
    rest = list(operands)
    for parameter in schema.inputs:
        if parameter.name in named:
            value = named[parameter.name]
            group = list(value) if isinstance(value, (list, tuple)) else [value]
        elif parameter.option == _VARIADIC:
            group, rest = rest, []
        else:
            group = [rest.pop(0)] if rest else []
        group = [v for v in group if v is not None]
        if parameter.option == _SINGLE and len(group) != 1:
            raise UsageError(f"onnx.{cls.onnx_name} needs operand {parameter.name}")
        groups.append(group)
    if rest:
        raise UsageError(f"onnx.{cls.onnx_name} takes at most {len(schema.inputs)} operands, got {len(operands)}")
    return groups


def _group_results(schema: OpSchema, types: Sequence[Attribute | None]) -> list[list[Attribute]]:
    rest = list(types)
    groups: list[list[Attribute]] = []
    for parameter in schema.outputs:
        if parameter.option == _VARIADIC:
            group, rest = rest, []
        else:
            group = [rest.pop(0)] if rest else []
        groups.append([t for t in group if t is not None])
    return groups
