"""Result types of an operation, by ONNX's own shape inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import onnx
import onnx.checker
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
from onnx.defs import OpSchema
from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute, OpResult, SSAValue

from dsc.errors import UsageError
from dsc.ir.onnx.attributes import array_of, to_python
from dsc.ir.onnx.dim_names import name_dims
from dsc.ir.onnx.names import operator_name
from dsc.ir.types import (
    OptionalType,
    SequenceType,
    dims_of,
    element_of,
    element_of_code,
    encoding_of,
    tensor_of_dims,
    with_encoding,
)

OPSET: int = onnx.defs.onnx_opset_version()
"""The one version of the default domain that the IR has: the newest this onnx package knows."""

_DEFAULT = onnx.helper.make_opsetid("", OPSET)


def constant_value(value: SSAValue | None) -> np.ndarray | None:
    """The array of a value made by `onnx.Constant`, else None (weights: see `Graph.constant`)."""
    if not isinstance(value, OpResult) or value.op.name != "onnx.Constant":
        return None
    for name, attribute in value.op.properties.items():
        if name == "value":
            return array_of(attribute)
        python = to_python(attribute)
        dtype = {"i": np.int64, "f": np.float32, "s": np.object_}[name.removeprefix("value_")[0]]
        return np.asarray(python, dtype)
    return None


def infer_result_types(
    schema: OpSchema,
    operands: Sequence[Sequence[SSAValue]],
    properties: Mapping[str, Attribute],
    count: int,
    node: str | None = None,
) -> list[Attribute | None]:
    """Types of the first `count` results of the operator of a schema. `operands` are grouped by the schema's inputs.

    Raises UsageError where ONNX finds the operands or attributes wrong, or cannot tell a type.
    """
    names, types, data = _describe(operands)
    outputs = [f"y{i}" for i in range(count)]
    attributes = {n: to_python(a) for n, a in properties.items() if n in schema.attributes}
    proto = onnx.helper.make_node(schema.name, names, outputs, name=node, domain=schema.domain)
    proto.attribute.extend(_attribute_proto(schema, n, v) for n, v in attributes.items())
    operator = operator_name(schema.domain, schema.name)
    what = f"onnx.{operator}" + (f" ({node})" if node else "")
    try:
        found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, None, _opsets(schema))
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
        given = ", ".join(str(v.type) for group in operands for v in group)
        raise UsageError(f"{what} of ({given}) with {attributes} is not valid: {error}") from error
    if missing := [o for o in outputs if o not in found]:
        raise UsageError(f"{what}: ONNX cannot infer the type of output {missing[0][1:]}; pass result_types")
    types_found = [from_type_proto(found[o]) for o in outputs]
    return [name_dims(operator, operands, properties, t) if i == 0 else t for i, t in enumerate(types_found)]


def _opsets(schema: OpSchema) -> list[onnx.OperatorSetIdProto]:
    return [_DEFAULT, onnx.helper.make_opsetid(schema.domain, schema.since_version)] if schema.domain else [_DEFAULT]


def _describe(
    operands: Sequence[Sequence[SSAValue]],
) -> tuple[list[str], dict[str, onnx.TypeProto], dict[str, onnx.TensorProto]]:
    """Names, types and known values of the operands, as inference wants them."""
    names: list[str] = []
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for group in operands:
        if not group:
            names.append("")
        for value in group:
            name = f"x{len(names)}"
            names.append(name)
            types[name] = to_type_proto(value.type)
            constant = constant_value(value)
            if constant is not None and constant.dtype != np.object_:
                data[name] = onnx.numpy_helper.from_array(constant, name)
    while names and not names[-1]:
        names.pop()
    return names, types, data


def _attribute_proto(schema: OpSchema, name: str, value: object) -> onnx.AttributeProto:
    if isinstance(value, np.ndarray):
        value = onnx.numpy_helper.from_array(value)
    elif isinstance(value, Attribute):
        value = to_type_proto(value)
    kind = schema.attributes[name].type.value
    return onnx.helper.make_attribute(name, value, attr_type=kind)


def to_type_proto(type_: Attribute) -> onnx.TypeProto:
    """The ONNX type of an MLIR type; names of dims become `dim_param`."""
    match type_:
        case SequenceType():
            return onnx.helper.make_sequence_type_proto(to_type_proto(type_.element))
        case OptionalType():
            return onnx.helper.make_optional_type_proto(to_type_proto(type_.element))
        case _:
            dims = dims_of(type_)
            shape = None if dims is None else [d if d != "" else None for d in dims]
            return onnx.helper.make_tensor_type_proto(element_of(type_).code, shape)


def from_type_proto(proto: onnx.TypeProto) -> Attribute:
    """The inverse of `to_type_proto`; a tensor without shape is unranked."""
    match proto.WhichOneof("value"):
        case "sequence_type":
            return SequenceType(from_type_proto(proto.sequence_type.elem_type))
        case "optional_type":
            return OptionalType(from_type_proto(proto.optional_type.elem_type))
        case "tensor_type":
            element = element_of_code(proto.tensor_type.elem_type).mlir
            if not proto.tensor_type.HasField("shape"):
                return UnrankedTensorType(element)
            dims = [_dim(d) for d in proto.tensor_type.shape.dim]
            return tensor_of_dims(element, dims)
        case other:
            raise UsageError(
                f"ONNX type {other or 'without a value'} is not supported; tensors, sequences, optionals are"
            )


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return cast(int, dim.dim_value) if dim.HasField("dim_value") else cast(str, dim.dim_param)


def merge_types(first: Attribute, second: Attribute) -> Attribute:
    """The more specific of two types of one value, dim by dim: sizes over names over nothing.

    What either says about the contents is kept.
    """
    if not isinstance(first, TensorType) or not isinstance(second, TensorType):
        return second if isinstance(first, UnrankedTensorType) else first
    a, b = dims_of(first), dims_of(second)
    assert a is not None
    assert b is not None
    if len(a) != len(b):
        return first
    merged = tensor_of_dims(first.element_type, [_better(x, y) for x, y in zip(a, b, strict=True)])
    return with_encoding(merged, encoding_of(first) or encoding_of(second))


def _better(a: int | str, b: int | str) -> int | str:
    if isinstance(a, int):
        return a
    return b if isinstance(b, int) or not a else a
