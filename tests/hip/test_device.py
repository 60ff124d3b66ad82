"""The devices ``rocm`` of TVM's runtime, on the stand-in for HIP's library."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
import tvm
import tvm_ffi

from dsc import hip
from dsc.simulator import Simulation, simulated_rocm

X = np.random.default_rng(0).standard_normal((7, 13), np.float32)


@pytest.fixture
def gpu() -> Iterator[tvm.runtime.Device]:
    with simulated_rocm("gfx90a"):
        yield tvm.rocm(0)


def test_what_it_is(gpu: tvm.runtime.Device) -> None:
    assert gpu.exist
    assert not tvm.rocm(1).exist
    assert (gpu.device_name, gpu.compute_version, gpu.warp_size) == ("dsc's simulator of ROCm", "9.0", 64)
    assert (gpu.multi_processor_count, gpu.max_shared_memory_per_block) == (110, 64 << 10)
    assert (gpu.total_global_memory, gpu.l2_cache_size_bytes) == (64 << 30, 8 << 20)
    assert int(gpu.api_version) >= 50_000_000  # of the headers, for which TVM chooses the form of code objects
    assert (hip.problem(), hip.architecture()) == ("", "gfx90a")
    assert hip.problem(1) == "there are 1 GPUs, and none of number 1"


def test_there_is_none_before_and_after() -> None:
    with simulated_rocm("gfx1100"):
        assert hip.architecture() == "gfx1100"
    assert not tvm.rocm(0).exist
    assert hip.problem() == "HIP finds no GPU: no simulation is active"


def test_blocks_are_of_the_size_that_is_promised_without_a_gpu(gpu: tvm.runtime.Device) -> None:
    """TVM's code generator asks for it: code must not depend on whether there is a GPU where it is compiled."""
    assert gpu.max_threads_per_block == 256


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int8", "bool"])
def test_copies_of_every_size(gpu: tvm.runtime.Device, dtype: str) -> None:
    random = np.random.default_rng(1)
    for shape in ((1,), (3, 5), (255,), (2, 0, 3), (1025,)):
        array = (random.standard_normal(shape) * 100).astype(dtype)
        there = tvm.runtime.tensor(array, gpu)
        assert there.data_ptr() % 256 == 0
        again = tvm.runtime.empty(shape, dtype, gpu).copyfrom(there)
        for tensor in (there, again):
            np.testing.assert_array_equal(tensor.numpy(), array)


def test_parts_of_tensors(gpu: tvm.runtime.Device) -> None:
    """Copies begin where a view begins."""
    there = tvm.runtime.tensor(X, gpu)
    view = there._create_view((3, 13), "float32", 2 * 13 * 4)
    np.testing.assert_array_equal(view.numpy(), X[2:5])
    view.copyfrom(-X[2:5])
    np.testing.assert_array_equal(there.numpy(), np.concatenate([X[:2], -X[2:5], X[5:]]))


def test_memory_is_given_back(gpu: tvm.runtime.Device) -> None:
    before = gpu.available_global_memory
    tensor = tvm.runtime.empty((1 << 20,), "float32", gpu)
    assert gpu.available_global_memory == before - (4 << 20)
    del tensor
    assert gpu.available_global_memory == before


def test_memory_of_functions_is_kept_for_the_next(gpu: tvm.runtime.Device) -> None:
    """As host code asks for it, where kernels hand intermediate results on."""
    runtime = ctypes.CDLL("libtvm_runtime.so")
    allocate, free = runtime.TVMBackendAllocWorkspace, runtime.TVMBackendFreeWorkspace
    allocate.restype, allocate.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_int, ctypes.c_int, ctypes.c_uint64, *[ctypes.c_int] * 2],
    )
    free.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    kind = gpu.dlpack_device_type()

    def taken() -> list[int]:
        addresses = [allocate(kind, 0, size, 2, 32) for size in (5000, 300)]
        for address in reversed(addresses):
            assert free(kind, 0, address) == 0
        return addresses

    first = taken()
    before = gpu.available_global_memory
    assert len(set(first)) == 2
    assert all(address % 256 == 0 for address in first)
    assert taken() == first
    assert gpu.available_global_memory == before


def test_memory_that_is_short_is_told(gpu: tvm.runtime.Device) -> None:
    told = r"HIP: allocating 274877906944 bytes: out of memory"
    with pytest.raises(MemoryError, match=told):
        tvm.runtime.empty((1 << 36,), "float32", gpu)
    np.testing.assert_array_equal(tvm.runtime.tensor(X, gpu).numpy(), X)  # it goes on


def test_memory_of_an_alignment_that_there_is_not(gpu: tvm.runtime.Device) -> None:
    """TVM asks for a multiple of the type: of vectors longer than anything that HIP aligns to."""
    with pytest.raises(ValueError, match="aligned to 256 bytes, not to 512"):
        tvm.runtime.empty((2,), "float32x128", gpu)


def test_another_gpu_is_none(gpu: tvm.runtime.Device) -> None:
    tensor = tvm.runtime.tensor(X, gpu)
    with pytest.raises(RuntimeError, match="HIP: choosing GPU 1: no simulation is active"):
        tvm.runtime.empty(X.shape, "float32", tvm.rocm(1)).copyfrom(tensor)


def test_streams(gpu: tvm.runtime.Device) -> None:
    first, second = gpu.create_raw_stream(), gpu.create_raw_stream()
    assert first != second
    gpu.set_raw_stream(first)
    there = tvm.runtime.tensor(X, gpu)
    gpu.sync(first)
    tvm_ffi.get_global_func("runtime.Device_StreamSyncFromTo")(gpu, first, second)
    gpu.sync(second)
    gpu.set_raw_stream(0)
    np.testing.assert_array_equal(there.numpy(), X)
    for stream in (first, second):
        gpu.free_raw_stream(stream)


def test_a_simulation_counts_as_ever() -> None:
    with simulated_rocm("gfx942") as simulation:
        assert isinstance(simulation, Simulation)
        assert simulation.counters() == {}
        assert simulation.faults() == []
