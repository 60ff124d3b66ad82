"""TensorProto -> numpy, after checking that dims and payload agree."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.errors import UnsupportedModelError
from dsc.ir.types import ElementType, element_of_code

MAX_DENSE_BYTES = 1 << 30
"""Largest tensor made from a sparse one."""


def array_of_bytes(tensor: onnx.TensorProto, data: memoryview | bytes) -> np.ndarray:
    """The array whose raw little-endian bytes are `data`: a view of them (which may be unaligned), not a
    copy.

    Raises UnsupportedModelError where the length is not what dims and element type say.
    """
    element = _element(tensor)
    shape = _shape(tensor)
    expected = (math.prod(shape) * element.bits + 7) // 8
    if len(data) != expected or element.name == "STRING":
        raise UnsupportedModelError(
            f"weight {tensor.name!r} of shape {list(shape)} and type {element.name} needs {expected} bytes, "
            f"but has {len(data)}"
        )
    if element.bits < 8:
        packed = onnx.TensorProto(dims=shape, data_type=tensor.data_type, raw_data=bytes(data))
        unpacked: np.ndarray = onnx.numpy_helper.to_array(packed)
        return unpacked
    return np.frombuffer(data, element.dtype).reshape(shape)


def array_of_tensor(tensor: onnx.TensorProto) -> np.ndarray:
    """The array of a tensor that carries its data inside. Raises as `array_of_bytes` does."""
    if tensor.HasField("raw_data"):
        return array_of_bytes(tensor, tensor.raw_data)
    element, shape = _element(tensor), _shape(tensor)
    count = math.prod(shape)
    stored = max(len(getattr(tensor, f)) for f in _TYPED_FIELDS)
    per_item = 2 if element.name.startswith("COMPLEX") else 1
    bits = min(element.bits, 8)  # packed types have a byte in each int32
    if stored != -(-count * per_item * bits // 8):
        raise UnsupportedModelError(
            f"weight {tensor.name!r} of shape {list(shape)} needs {count * per_item} values, but has {stored}"
        )
    array: np.ndarray = onnx.numpy_helper.to_array(tensor)
    return array.astype(element.dtype) if array.dtype != element.dtype else array


def array_of_sparse(sparse: onnx.SparseTensorProto) -> np.ndarray:
    """The dense array of a sparse tensor (ONNX's COO forms). Raises UnsupportedModelError where it is not
    consistent.
    """
    name, shape = sparse.values.name, tuple(sparse.dims)
    values, indices = array_of_tensor(sparse.values), array_of_tensor(sparse.indices)
    if min(shape, default=0) < 0 or math.prod(shape) * values.itemsize > MAX_DENSE_BYTES:
        raise UnsupportedModelError(f"sparse weight {name!r} of shape {list(shape)} is too large to make dense")
    if indices.ndim == 2 and indices.shape[1] == len(shape):
        inside = (indices >= 0).all() and (indices < np.array(shape)).all()
        flat = np.ravel_multi_index(tuple(indices.T), shape) if inside else None
    else:
        flat = indices.reshape(-1) if ((indices >= 0) & (indices < math.prod(shape))).all() else None
    if flat is None or flat.size != values.size:
        raise UnsupportedModelError(f"sparse weight {name!r}: its indices do not fit shape {list(shape)}")
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[flat] = values.reshape(-1)
    return dense.reshape(shape)


_TYPED_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def _element(tensor: onnx.TensorProto) -> ElementType:
    try:
        return element_of_code(tensor.data_type)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"weight {tensor.name!r}: {error}") from None


def _shape(tensor: onnx.TensorProto) -> tuple[int, ...]:
    if min(tensor.dims, default=0) < 0 or tensor.HasField("segment"):
        raise UnsupportedModelError(f"weight {tensor.name!r}: dims {list(tensor.dims)} are no tensor's")
    return tuple(tensor.dims)
