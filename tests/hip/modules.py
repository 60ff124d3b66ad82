"""Modules of ROCm as TVM serializes them, around images of the simulator that are made of CUDA's C++."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import cache

import numpy as np
import tvm
import tvm_ffi

from dsc.simulator import compile_image

KERNELS = """
extern "C" __global__ void __launch_bounds__(64) reversed(const float* x, float* y, int n, float factor) {
  __shared__ float tile[64];
  int i = blockIdx.x * 64 + threadIdx.x;
  tile[threadIdx.x] = i < n ? x[i] : 0.0f;
  __syncthreads();
  if (i < n) y[i] = factor * tile[63 - threadIdx.x];
}
extern "C" __global__ void numbers(double* out, signed char a, unsigned short b, long long c, unsigned d, double e,
                                   float f, bool g) {
  extern __shared__ double kept[];
  int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  kept[t] = t;
  __syncthreads();
  if (blockIdx.x + blockIdx.y + blockIdx.z == 0 && t == 0) {
    double all[] = {(double)a, (double)b, (double)c, (double)d, e, (double)f, (double)g, (double)gridDim.x,
                    (double)gridDim.y, (double)gridDim.z, (double)blockDim.x, (double)blockDim.y, (double)blockDim.z,
                    kept[blockDim.x * blockDim.y * blockDim.z - 1]};
    for (int i = 0; i < 14; ++i) out[i] = all[i];
  }
}
extern "C" __global__ void beyond(const float* x, float* y, int n) { y[threadIdx.x] = x[threadIdx.x + n]; }
"""
TYPES = {
    "reversed": ("handle", "handle", "int32", "float32"),
    "numbers": ("handle", "int8", "uint16", "int64", "uint32", "float64", "float32", "bool"),
    "beyond": ("handle", "handle", "int32"),
}
LAUNCHES = {
    "reversed": ("blockIdx.x", "threadIdx.x"),
    "numbers": (
        *("blockIdx.z", "threadIdx.y", "blockIdx.x", "threadIdx.x", "blockIdx.y", "threadIdx.z"),
        "tirx.use_dyn_shared_memory",
    ),
    "beyond": ("threadIdx.x",),
}
LOAD = "ffi.Module.load_from_bytes.hip"


@cache
def image() -> bytes:
    """The simulator's image of all kernels."""
    return compile_image(KERNELS, "sm_80")


def _string(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _type(name: str) -> bytes:
    if name == "handle":
        return struct.pack("<BBH", 3, 64, 1)
    found = tvm_ffi.dtype(name)
    return struct.pack("<BBH", found.type_code, found.bits, found.lanes)


def serialized(
    kernels: Sequence[str] = tuple(TYPES),
    code: bytes | None = None,
    format_: str = "hsaco",
    types: Sequence[str] | None = None,
    launch: Sequence[str] | None = None,
) -> bytes:
    """A module with those kernels, whose code is `image()` unless it is given."""
    parts = [_string(format_.encode()), struct.pack("<Q", len(kernels))]
    for name in kernels:
        takes, numbers = types or TYPES.get(name, ()), launch or LAUNCHES.get(name, ())
        parts += [_string(name.encode()), _string(name.encode())]
        parts += [struct.pack("<Q", len(takes)), *map(_type, takes)]
        parts += [struct.pack("<Q", len(numbers)), *(_string(number.encode()) for number in numbers)]
        parts.append(struct.pack("<Q", 0))
    return b"".join([*parts, _string(image() if code is None else code)])


def load(module: bytes) -> tvm.runtime.Module:
    """The module, on the current GPU."""
    loaded: tvm.runtime.Module = tvm_ffi.get_global_func(LOAD)(module)
    return loaded


def address(tensor: tvm.runtime.Tensor) -> ctypes.c_void_p:
    """Of its elements, as host code hands it to a kernel."""
    return ctypes.c_void_p(tensor.data_ptr())


def put(array: np.ndarray) -> tvm.runtime.Tensor:
    """A copy in the memory of the GPU."""
    return tvm.runtime.tensor(array, tvm.rocm(0))
