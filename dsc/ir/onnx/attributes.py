"""Python values of ONNX attributes <-> MLIR attributes.

INT is `i64`, FLOAT is `f32`, INTS and FLOATS are dense arrays, STRINGS an array of strings, TENSOR a dense
constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    BytesAttr,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    f32,
    i64,
)
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition

from dsc.elements import integer_encoding
from dsc.errors import UsageError
from dsc.ir.types import element_of, tensor

AttributeValue: TypeAlias = int | float | str | np.ndarray | Sequence[int] | Sequence[float] | Sequence[str] | Attribute


@irdl_attr_definition
class StringsAttr(ParametrizedAttribute):
    """`#onnx.strings<["a", "b"], tensor<2x!onnx.string>>`: a constant string tensor, row-major."""

    name = "onnx.strings"
    values: ArrayAttr[StringAttr]
    type: TensorType[Attribute]


def to_attribute(kind: str, value: AttributeValue) -> Attribute:
    """The MLIR attribute of a value for an ONNX attribute of `kind` ("INT", "FLOATS", "TENSOR", ...)."""
    if isinstance(value, Attribute):
        return value
    try:
        match kind:
            case "INT":
                return IntegerAttr(int(value), i64)  # type: ignore[arg-type]
            case "FLOAT":
                return FloatAttr(float(value), f32)  # type: ignore[arg-type]
            case "STRING":
                return StringAttr(value.decode() if isinstance(value, bytes) else str(value))
            case "INTS":
                return DenseArrayBase.from_list(i64, [int(v) for v in value])  # type: ignore[union-attr]
            case "FLOATS":
                return DenseArrayBase.from_list(f32, [float(v) for v in value])  # type: ignore[union-attr]
            case "STRINGS":
                texts = [v.decode() if isinstance(v, bytes) else str(v) for v in value]  # type: ignore[union-attr]
                return ArrayAttr([StringAttr(text) for text in texts])
            case "TENSOR":
                return dense(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{value!r} is not an ONNX attribute value of type {kind}: {error}") from error
    raise UsageError(f"ONNX attributes of type {kind} are not supported here (got {value!r})")


def to_python(attribute: Attribute) -> AttributeValue:
    """The Python value of an attribute; types (of a TYPE_PROTO attribute) are returned as they are."""
    match attribute:
        case IntegerAttr():
            return attribute.value.data
        case FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case DenseArrayBase():
            return list(attribute.get_values())
        case ArrayAttr():
            return [a.data for a in attribute]
        case DenseIntOrFPElementsAttr() | StringsAttr():
            return array_of(attribute)
        case _:
            return attribute


def dense(array: np.ndarray) -> Attribute:
    """The constant attribute of an array: a `dense<...>`, or `#onnx.strings` for strings."""
    type_ = tensor(array.dtype, array.shape)
    if array.dtype.kind in "OUS":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in array.reshape(-1).tolist()]
        return StringsAttr(ArrayAttr([StringAttr(t) for t in texts]), type_)
    data = BytesAttr(np.ascontiguousarray(_in_bytes(array)).tobytes())
    return DenseIntOrFPElementsAttr(type_, data)  # type: ignore[type-var]


def array_of(attribute: Attribute) -> np.ndarray:
    """The inverse of `dense`: a read-only view."""
    if isinstance(attribute, StringsAttr):
        texts = np.array([v.data for v in attribute.values], dtype=np.object_)
        return texts.reshape(attribute.type.get_shape())
    if not isinstance(attribute, DenseIntOrFPElementsAttr):
        raise UsageError(f"{attribute} is not a constant tensor")
    element = element_of(attribute.type)
    dtype = _signed_bytes(element.dtype) or element.dtype
    array = np.frombuffer(attribute.data.data, dtype).reshape(attribute.type.get_shape())
    return array if dtype == element.dtype else _read_only(array.astype(element.dtype))


def _in_bytes(array: np.ndarray) -> np.ndarray:
    return array if (dtype := _signed_bytes(array.dtype)) is None else array.astype(dtype)


def _signed_bytes(dtype: np.dtype[np.generic]) -> np.dtype[np.generic] | None:
    """What xDSL has narrow signed integers in; ml_dtypes leaves the upper bits of a byte 0."""
    encoding = integer_encoding(dtype)
    return np.dtype(np.int8) if encoding is not None and encoding.signed and encoding.bits < 8 else None


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
