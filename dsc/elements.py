"""The element types of tensors: one table, which everything that names a type reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class FloatEncoding:
    """Sign, exponent and mantissa of a float that is computed in float32, in the low bits of its memory."""

    exponent: int
    """Bits."""
    mantissa: int
    """Bits."""
    bias: int
    """Of the exponent: 1.0 has this one. Exponent 0 is that of subnormal numbers."""
    specials: Literal["ieee", "fn", "fnuz", "finite"]
    """Infinities and NaNs of exponent all ones; a NaN of all ones only; one NaN in the place of -0; none at all."""
    signed: bool = True

    @property
    def bits(self) -> int:
        """Of one element."""
        return self.signed + self.exponent + self.mantissa

    @property
    def largest(self) -> int:
        """The bits of the largest number."""
        ones = (1 << (self.exponent + self.mantissa)) - 1
        return {"ieee": ones - (1 << self.mantissa), "fn": ones - 1, "fnuz": ones, "finite": ones}[self.specials]

    @property
    def beyond(self) -> int:
        """The bits of what is larger: infinity, NaN where there is none, the largest number where there is neither."""
        return self.largest + (self.specials != "finite")

    @property
    def maximum(self) -> float:
        """The largest number."""
        fraction = self.largest & ((1 << self.mantissa) - 1)
        return float((1 + fraction / (1 << self.mantissa)) * 2.0 ** ((self.largest >> self.mantissa) - self.bias))


@dataclass(frozen=True)
class IntegerEncoding:
    """A two's complement integer. Less than a byte is in the low bits of one; the others are 0, as in ml_dtypes."""

    bits: int
    signed: bool

    @property
    def least(self) -> int:
        """The smallest number."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def largest(self) -> int:
        """The largest number."""
        return (1 << (self.bits - self.signed)) - 1

    def wrapped(self, number: int) -> int:
        """The number that the low bits of one are."""
        return (number - self.least) % (1 << self.bits) + self.least


Encoding: TypeAlias = FloatEncoding | IntegerEncoding


@dataclass(frozen=True)
class ElementType:
    """One element type. What it is in MLIR stands in `dsc.ir.types`."""

    name: str
    """In ONNX."""
    code: int
    """`TensorProto.DataType`."""
    dtype: np.dtype[np.generic]
    """In numpy, with ml_dtypes: what callers pass and get."""
    bits: int
    """Of an element in ONNX's raw data, where types of less than a byte are packed."""
    safetensors: str | None = None
    """In the file of weights, where it is a type that every reader of safetensors knows."""
    stored: str | None = None
    """What kernels, DLPack and the file of weights are told that memory holds; None for what kernels do not have."""
    computed: str | None = None
    """What kernels compute in; rounded to `dtype` after each op."""
    encoding: Encoding | None = None
    """How `computed` is made of `stored` and back; None where that is a conversion of numbers, or nothing."""


def _number(name: str, code: int, dtype: type, safetensors: str, computed: str | None = None) -> ElementType:
    found = np.dtype(dtype)
    return ElementType(name, code, found, 8 * found.itemsize, safetensors, found.name, computed or found.name)


def _float(name: str, code: int, dtype: type, encoding: FloatEncoding) -> ElementType:
    found = np.dtype(dtype)
    return ElementType(name, code, found, encoding.bits, None, f"uint{8 * found.itemsize}", "float32", encoding)


def _integer(name: str, code: int, dtype: type, encoding: IntegerEncoding) -> ElementType:
    computed = "int8" if encoding.signed else "uint8"
    return ElementType(name, code, np.dtype(dtype), encoding.bits, None, "uint8", computed, encoding)


def _foreign(name: str, code: int, dtype: type) -> ElementType:
    found = np.dtype(dtype)
    return ElementType(name, code, found, 8 * found.itemsize)


ELEMENT_TYPES: tuple[ElementType, ...] = (
    _number("FLOAT", 1, np.float32, "F32"),
    _number("UINT8", 2, np.uint8, "U8"),
    _number("INT8", 3, np.int8, "I8"),
    _number("UINT16", 4, np.uint16, "U16"),
    _number("INT16", 5, np.int16, "I16"),
    _number("INT32", 6, np.int32, "I32"),
    _number("INT64", 7, np.int64, "I64"),
    _foreign("STRING", 8, np.object_),
    _number("BOOL", 9, np.bool_, "BOOL"),
    _number("FLOAT16", 10, np.float16, "F16", computed="float32"),
    _number("DOUBLE", 11, np.float64, "F64"),
    _number("UINT32", 12, np.uint32, "U32"),
    _number("UINT64", 13, np.uint64, "U64"),
    _foreign("COMPLEX64", 14, np.complex64),
    _foreign("COMPLEX128", 15, np.complex128),
    # numpy cannot hand these to DLPack, and TVM's own legalization of bfloat16 makes wrong code: kernels see the bits
    _float("BFLOAT16", 16, ml_dtypes.bfloat16, FloatEncoding(8, 7, 127, "ieee")),
    _float("FLOAT8E4M3FN", 17, ml_dtypes.float8_e4m3fn, FloatEncoding(4, 3, 7, "fn")),
    _float("FLOAT8E4M3FNUZ", 18, ml_dtypes.float8_e4m3fnuz, FloatEncoding(4, 3, 8, "fnuz")),
    _float("FLOAT8E5M2", 19, ml_dtypes.float8_e5m2, FloatEncoding(5, 2, 15, "ieee")),
    _float("FLOAT8E5M2FNUZ", 20, ml_dtypes.float8_e5m2fnuz, FloatEncoding(5, 2, 16, "fnuz")),
    _integer("UINT4", 21, ml_dtypes.uint4, IntegerEncoding(4, signed=False)),
    _integer("INT4", 22, ml_dtypes.int4, IntegerEncoding(4, signed=True)),
    _float("FLOAT4E2M1", 23, ml_dtypes.float4_e2m1fn, FloatEncoding(2, 1, 1, "finite")),
    _float("FLOAT8E8M0", 24, ml_dtypes.float8_e8m0fnu, FloatEncoding(8, 0, 127, "fn", signed=False)),
    _integer("UINT2", 25, ml_dtypes.uint2, IntegerEncoding(2, signed=False)),
    _integer("INT2", 26, ml_dtypes.int2, IntegerEncoding(2, signed=True)),
    _float("FLOAT6E2M3", 27, ml_dtypes.float6_e2m3fn, FloatEncoding(2, 3, 1, "finite")),
    _float("FLOAT6E3M2", 28, ml_dtypes.float6_e3m2fn, FloatEncoding(3, 2, 3, "finite")),
)

BY_DTYPE_NAME = {e.dtype.name: e for e in ELEMENT_TYPES}
"""The element types by the names of their numpy dtypes, as artifacts write them."""


_ENCODINGS = {e.dtype: e.encoding for e in ELEMENT_TYPES if e.encoding is not None}
_COMPUTED = {e.dtype: np.dtype(e.computed) for e in ELEMENT_TYPES if e.encoding is not None}


@lru_cache
def integer_encoding(dtype: np.dtype[np.generic]) -> IntegerEncoding | None:
    """What the integers of a dtype are; None for other types. (numpy's kind tells it of its own types only.)"""
    if dtype.kind in "iu":
        return IntegerEncoding(8 * dtype.itemsize, dtype.kind == "i")
    found = _ENCODINGS.get(dtype)
    return found if isinstance(found, IntegerEncoding) else None


_OTHERWISE = {e.dtype: np.dtype(e.stored) for e in ELEMENT_TYPES if e.stored not in (None, e.dtype.name)}
"""The dtypes of which kernels know the memory as another; by dtype, whose name takes numpy a microsecond."""


def stored_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The dtype under which kernels know the memory of an array."""
    return _OTHERWISE.get(dtype, dtype)


def stored(array: np.ndarray) -> np.ndarray:
    """The array as kernels take it: its own memory, under the dtype that they know."""
    other = _OTHERWISE.get(array.dtype)
    return array if other is None else array.view(other)


def computed(array: np.ndarray) -> np.ndarray:
    """The array as kernels compute with it: its numbers, in the dtype that they are computed in."""
    other = _COMPUTED.get(array.dtype)
    return array if other is None else array.astype(other)
