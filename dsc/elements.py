"""The element types of tensors: one table, which everything that names a type reads."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np


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
    """In the file of weights; None for what no artifact holds."""
    stored: str | None = None
    """What kernels, and DLPack, are told that the memory holds; None for what kernels do not have."""
    computed: str | None = None
    """What kernels compute in; rounded to `dtype` after each op."""


def _number(name: str, code: int, dtype: type, safetensors: str) -> ElementType:
    found = np.dtype(dtype)
    return ElementType(name, code, found, 8 * found.itemsize, safetensors, found.name, found.name)


def _foreign(name: str, code: int, dtype: type, bits: int | None = None) -> ElementType:
    found = np.dtype(dtype)
    return ElementType(name, code, found, bits or 8 * found.itemsize)


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
    _number("FLOAT16", 10, np.float16, "F16"),
    _number("DOUBLE", 11, np.float64, "F64"),
    _number("UINT32", 12, np.uint32, "U32"),
    _number("UINT64", 13, np.uint64, "U64"),
    _foreign("COMPLEX64", 14, np.complex64),
    _foreign("COMPLEX128", 15, np.complex128),
    # numpy cannot hand it to DLPack, and TVM's own legalization of it makes wrong code: kernels see its bits
    ElementType("BFLOAT16", 16, np.dtype(ml_dtypes.bfloat16), 16, "BF16", "uint16", "float32"),
    _foreign("FLOAT8E4M3FN", 17, ml_dtypes.float8_e4m3fn),
    _foreign("FLOAT8E4M3FNUZ", 18, ml_dtypes.float8_e4m3fnuz),
    _foreign("FLOAT8E5M2", 19, ml_dtypes.float8_e5m2),
    _foreign("FLOAT8E5M2FNUZ", 20, ml_dtypes.float8_e5m2fnuz),
    _foreign("UINT4", 21, ml_dtypes.uint4, 4),
    _foreign("INT4", 22, ml_dtypes.int4, 4),
    _foreign("FLOAT4E2M1", 23, ml_dtypes.float4_e2m1fn, 4),
    _foreign("FLOAT8E8M0", 24, ml_dtypes.float8_e8m0fnu),
    _foreign("UINT2", 25, ml_dtypes.uint2, 2),
    _foreign("INT2", 26, ml_dtypes.int2, 2),
    _foreign("FLOAT6E2M3", 27, ml_dtypes.float6_e2m3fn, 6),
    _foreign("FLOAT6E3M2", 28, ml_dtypes.float6_e3m2fn, 6),
)

BY_DTYPE_NAME = {e.dtype.name: e for e in ELEMENT_TYPES}
"""The element types by the names of their numpy dtypes, as artifacts write them."""


_OTHERWISE = {e.dtype: np.dtype(e.stored) for e in ELEMENT_TYPES if e.stored not in (None, e.dtype.name)}
"""The dtypes of which kernels know the memory as another; by dtype, whose name takes numpy a microsecond."""


def stored(array: np.ndarray) -> np.ndarray:
    """The array as kernels take it: its own memory, under the dtype that they know."""
    other = _OTHERWISE.get(array.dtype)
    return array if other is None else array.view(other)
