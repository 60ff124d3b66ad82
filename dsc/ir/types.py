"""Element types in three languages (ONNX codes, numpy dtypes, MLIR types) and the tensor types made of them.

Signed integers are MLIR's signless ones (`i8`), unsigned ones are `ui8`, bool is `i1`. What MLIR has no type
for (strings, sequences, optionals) are types of the onnx dialect: `!onnx.string`, `!onnx.seq<T>`,
`!onnx.opt<T>`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    ComplexType,
    Float4E2M1FNType,
    Float6E2M3FNType,
    Float6E3M2FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    Float16Type,
    Float32Type,
    Float64Type,
    IntAttr,
    IntegerType,
    NoneAttr,
    Signedness,
    StringAttr,
    TensorType,
    UnrankedTensorType,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dsc import elements
from dsc.errors import UnsupportedModelError, UsageError
from dsc.sparsity import Pattern

DYNAMIC: int = DYNAMIC_INDEX
"""The size of a dim that is known at run time only, MLIR's `?`: a negative number, the one in
`type.get_shape()`."""


@irdl_attr_definition
class StringType(ParametrizedAttribute, TypeAttribute):
    """`!onnx.string`: the element type of string tensors."""

    name = "onnx.string"


@irdl_attr_definition
class SequenceType(ParametrizedAttribute, TypeAttribute):
    """`!onnx.seq<T>`: an ONNX sequence of T, mostly tensors."""

    name = "onnx.seq"
    element: Attribute


@irdl_attr_definition
class OptionalType(ParametrizedAttribute, TypeAttribute):
    """`!onnx.opt<T>`: an ONNX optional of T."""

    name = "onnx.opt"
    element: Attribute


@irdl_attr_definition
class DimsAttr(ParametrizedAttribute):
    """`#dsc.dims<["batch", ""]>`: the names of a tensor's dynamic dims; "" where static or nameless.

    Two dims of the same name have the same size at run time.
    """

    name = "dsc.dims"
    names: ArrayAttr[StringAttr]


DENSITY_STEPS = 256
"""A type tells a density in as many steps, so that layers which hardly differ have equal types, and share code."""


@irdl_attr_definition
class SparseAttr(ParametrizedAttribute):
    """`#dsc.sparse<"4x1", axis = 1, kept = 26>`: where a static tensor has zeros.

    Seen as a matrix whose outputs are dim `axis` (`dsc.sparsity.matrix_of`), of the blocks of this pattern
    (`dsc.sparsity.Pattern`) at most `kept` of 256 hold anything but zeros.
    """

    name = "dsc.sparse"
    pattern: StringAttr
    axis: IntAttr
    kept: IntAttr

    @staticmethod
    def of(pattern: Pattern, axis: int, density: float) -> SparseAttr:
        """Says that at most the share `density` of the blocks is occupied."""
        return SparseAttr(StringAttr(str(pattern)), IntAttr(axis), IntAttr(math.ceil(density * DENSITY_STEPS)))

    @property
    def density(self) -> float:
        """At most this share of the blocks is occupied."""
        return self.kept.data / DENSITY_STEPS

    def print_parameters(self, printer: Printer) -> None:
        """The short form above."""
        printer.print_string(f'<"{self.pattern.data}", axis = {self.axis.data}, kept = {self.kept.data}>')

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """Reads it."""
        with parser.in_angle_brackets():
            pattern = StringAttr(parser.parse_str_literal())
            numbers = []
            for name in ("axis", "kept"):
                parser.parse_punctuation(",")
                parser.parse_keyword(name)
                parser.parse_punctuation("=")
                numbers.append(IntAttr(parser.parse_integer(allow_boolean=False, allow_negative=False)))
        return [pattern, *numbers]


@dataclass(frozen=True)
class ElementType(elements.ElementType):
    """A row of the table of element types, with its MLIR type."""

    mlir: Attribute = field(kw_only=True)


def _unsigned(bits: int) -> IntegerType:
    return IntegerType(bits, Signedness.UNSIGNED)


_MLIR: dict[str, Attribute] = {
    "FLOAT": Float32Type(),
    "UINT8": _unsigned(8),
    "INT8": IntegerType(8),
    "UINT16": _unsigned(16),
    "INT16": IntegerType(16),
    "INT32": IntegerType(32),
    "INT64": IntegerType(64),
    "STRING": StringType(),
    "BOOL": IntegerType(1),
    "FLOAT16": Float16Type(),
    "DOUBLE": Float64Type(),
    "UINT32": _unsigned(32),
    "UINT64": _unsigned(64),
    "COMPLEX64": ComplexType(Float32Type()),
    "COMPLEX128": ComplexType(Float64Type()),
    "BFLOAT16": BFloat16Type(),
    "FLOAT8E4M3FN": Float8E4M3FNType(),
    "FLOAT8E4M3FNUZ": Float8E4M3FNUZType(),
    "FLOAT8E5M2": Float8E5M2Type(),
    "FLOAT8E5M2FNUZ": Float8E5M2FNUZType(),
    "UINT4": _unsigned(4),
    "INT4": IntegerType(4),
    "FLOAT4E2M1": Float4E2M1FNType(),
    "FLOAT8E8M0": Float8E8M0FNUType(),
    "UINT2": _unsigned(2),
    "INT2": IntegerType(2),
    "FLOAT6E2M3": Float6E2M3FNType(),
    "FLOAT6E3M2": Float6E3M2FNType(),
}

ELEMENT_TYPES: tuple[ElementType, ...] = tuple(
    ElementType(**vars(e), mlir=_MLIR[e.name]) for e in elements.ELEMENT_TYPES
)

_BY_CODE = {e.code: e for e in ELEMENT_TYPES}
_BY_DTYPE = {e.dtype: e for e in ELEMENT_TYPES}
_BY_MLIR = {e.mlir: e for e in ELEMENT_TYPES}


def element_of_code(code: int) -> ElementType:
    """The element type of an ONNX `TensorProto.DataType` code."""
    if code not in _BY_CODE:
        raise UnsupportedModelError(f"ONNX element type {code} is not known; known are 1 to {max(_BY_CODE)}")
    return _BY_CODE[code]


def element_of_dtype(dtype: DTypeLike) -> ElementType:
    """The element type of a numpy dtype (ml_dtypes included)."""
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        dtype = np.dtype(np.object_)
    if dtype not in _BY_DTYPE:
        raise UnsupportedModelError(f"numpy dtype {dtype} has no ONNX element type")
    return _BY_DTYPE[dtype]


def element_of(type_: Attribute) -> ElementType:
    """The element type of a tensor type, or of an MLIR element type itself."""
    mlir = type_.element_type if isinstance(type_, (TensorType, UnrankedTensorType)) else type_
    if mlir not in _BY_MLIR:
        raise UnsupportedModelError(f"{type_} is not a tensor of an ONNX element type")
    return _BY_MLIR[mlir]


def tensor(
    dtype: DTypeLike | Attribute, shape: Sequence[int], names: Sequence[str] | None = None
) -> TensorType[Attribute]:
    """The tensor type of a dtype and shape; negative sizes are dynamic and may have `names` ("" for none)."""
    element = dtype if isinstance(dtype, Attribute) else element_of_dtype(dtype).mlir
    sizes = tuple(int(d) if d >= 0 else DYNAMIC for d in shape)
    given = names if names is not None else [""] * len(sizes)
    return _tensor(element, sizes, tuple(n if d < 0 else "" for n, d in zip(given, sizes, strict=True)))


@lru_cache(maxsize=4096)
def _tensor(element: Attribute, shape: tuple[int, ...], names: tuple[str, ...]) -> TensorType[Attribute]:
    """Types are immutable, and a model has few different ones."""
    encoding = DimsAttr(ArrayAttr([StringAttr(n) for n in names])) if any(names) else NoneAttr()
    return TensorType(element, shape, encoding)


def shape_of(type_: Attribute) -> tuple[int, ...] | None:
    """Sizes of the dims, `DYNAMIC` where not known; None when the rank is not known or it is no tensor."""
    return type_.get_shape() if isinstance(type_, TensorType) else None


def dims_of(type_: Attribute) -> tuple[int | str, ...] | None:
    """Like `shape_of`, with the name of a dynamic dim in its place ("" when it has none)."""
    if not isinstance(type_, TensorType):
        return None
    shape = type_.get_shape()
    names = dim_names(type_)
    return tuple(name if size == DYNAMIC else size for size, name in zip(shape, names, strict=True))


def dim_names(type_: TensorType[Attribute]) -> tuple[str, ...]:
    """The name of each dim, "" where static or nameless."""
    if isinstance(type_.encoding, DimsAttr):
        return tuple(n.data for n in type_.encoding.names)
    return ("",) * type_.get_num_dims()


def encoding_of(type_: Attribute) -> Attribute | None:
    """What a tensor type says about the contents beyond shape and element type, e.g. `#dsc.sparse<...>`; None for
    nothing. (Names of dims are part of the shape.)"""
    found = type_.encoding if isinstance(type_, TensorType) else NoneAttr()
    return None if isinstance(found, NoneAttr | DimsAttr) else found


def with_encoding(type_: TensorType[Attribute], encoding: Attribute | None) -> TensorType[Attribute]:
    """A static tensor type that says of the contents what `encoding` does; the type itself for None."""
    return type_ if encoding is None else TensorType(type_.element_type, type_.get_shape(), encoding)


def with_elements(type_: Attribute, dtype: DTypeLike) -> TensorType[Attribute]:
    """The tensor type with elements of `dtype`; dims and what it says of the contents stay."""
    assert isinstance(type_, TensorType), f"{type_} is no tensor type of known rank"
    return TensorType(element_of_dtype(dtype).mlir, type_.get_shape(), type_.encoding)


def verify_encoding(type_: Attribute) -> None:
    """Raise VerifyException where the encoding of a tensor type does not go with its shape."""
    if not isinstance(type_, TensorType):
        return
    match type_.encoding:
        case NoneAttr():
            pass
        case DimsAttr():
            if len(type_.encoding.names) != type_.get_num_dims():
                raise VerifyException(f"{type_} has {type_.get_num_dims()} dims, not {len(type_.encoding.names)}")
        case SparseAttr():
            _verify_sparse(type_, type_.encoding)
        case _:
            raise VerifyException(f"{type_} has an encoding that is none of the dsc dialect")


def _verify_sparse(type_: TensorType[Attribute], encoding: SparseAttr) -> None:
    if not type_.has_static_shape():
        raise VerifyException(f"{type_}: only a tensor of static shape has a sparsity pattern")
    if encoding.axis.data >= type_.get_num_dims() or encoding.kept.data > DENSITY_STEPS:
        raise VerifyException(f"{type_}: there is no such axis, or more is kept than there is")
    try:
        Pattern.parse(encoding.pattern.data)
    except UsageError as error:
        raise VerifyException(f"{type_}: {error}") from error


def tensor_of_dims(element: Attribute, dims: Sequence[int | str]) -> TensorType[Attribute]:
    """The inverse of `dims_of`."""
    shape = [DYNAMIC if isinstance(d, str) else d for d in dims]
    return tensor(element, shape, [d if isinstance(d, str) else "" for d in dims])
