"""Kernels and models that TVM compiles run through its own runtime on the simulated device."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from dsc.simulator import KernelError, UnknownInstructionError, simulated_cuda

TARGET = {"kind": "cuda", "arch": "sm_80"}


def row_sums(m: int, n: int, beyond: int = 0) -> tirx.PrimFunc:
    """A kernel that sums rows, 32 of them in a block; `beyond` columns too far."""
    a = te.placeholder((m, n), name="a")
    k = te.reduce_axis((0, n), name="k")
    total = te.compute((m,), lambda i: te.sum(a[i, k + beyond], axis=k), name="total")
    schedule = tvm.s_tir.Schedule(te.create_prim_func([a, total]))
    (i, _) = schedule.get_loops(schedule.get_sblock("total"))
    block, thread = schedule.split(i, [None, 32])
    schedule.bind(block, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    return schedule.mod["main"]


def compiled(function: tirx.PrimFunc) -> tvm.runtime.Module:
    target = tvm.target.Target(TARGET, host="llvm")
    return tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), target=target)


def run(function: tirx.PrimFunc, x: np.ndarray) -> np.ndarray:
    device = tvm.cuda(0)
    y = tvm.runtime.tensor(np.zeros(len(x), np.float32), device)
    compiled(function)["main"](tvm.runtime.tensor(x, device), y)
    return y.numpy()


@pytest.mark.parametrize("order", ["forward", "reverse", 3])
def test_a_kernel_of_tvm(order: str | int) -> None:
    x = np.random.default_rng(1).standard_normal((45, 17), np.float32)
    with simulated_cuda("sm_80", order=order) as simulation:
        assert tvm.cuda(0).exist
        assert tvm.cuda(0).compute_version == "8.0"
        np.testing.assert_allclose(run(row_sums(45, 17), x), x.sum(1), rtol=1e-5, atol=1e-5)
        (counters,) = simulation.counters().values()
    assert not tvm.cuda(0).exist
    assert (counters.launches, counters.blocks, counters.threads) == (1, 2, 64)
    assert counters.coalescing < 0.5  # lanes read rows that lie 68 bytes apart


def test_what_a_kernel_of_tvm_breaks_is_told() -> None:
    x = np.random.default_rng(1).standard_normal((32, 17), np.float32)
    with (
        pytest.raises(
            KernelError, match=r"thread \(31, 0, 0\): reads 4 bytes of global memory out of bounds"
        ) as raised,
        simulated_cuda("sm_80"),
    ):
        run(row_sums(32, 17, beyond=1), x)
    assert "total" in raised.value.fault.line  # the source's


def test_what_is_unknown_is_told() -> None:
    """As its own kind of error, though it passes through TVM."""
    a = te.placeholder((32,), name="a")
    b = te.compute((32,), lambda i: tirx.call_pure_extern("float32", "__nonsense", a[i]), name="b")
    schedule = tvm.s_tir.Schedule(te.create_prim_func([a, b]))
    schedule.bind(schedule.get_loops(schedule.get_sblock("b"))[0], "threadIdx.x")
    told = r"(?s)__nonsense.*b_ptr\[.*__nonsense"
    with pytest.raises(UnknownInstructionError, match=told), simulated_cuda("sm_80"):
        compiled(schedule.mod["main"])


def test_a_whole_model() -> None:
    """Convolution, normalization and products through TVM's virtual machine, against TVM on the CPU."""
    from tvm import relax
    from tvm.relax.frontend import nn
    from tvm.s_tir import dlight

    class Net(nn.Module):
        def __init__(self) -> None:
            self.convolution = nn.Conv2D(3, 8, 3, stride=2, padding=1)
            self.norm = nn.LayerNorm(64)
            self.product = nn.Linear(64, 10)

        def main(self, x: nn.Tensor) -> nn.Tensor:
            x = nn.op.reshape(nn.op.relu(self.convolution(x)), (1, 8, 64))
            return nn.op.softmax(self.product(self.norm(x)), -1)

    module, parameters = Net().export_tvm({"main": {"x": nn.spec.Tensor((1, 3, 16, 16), "float32")}})
    random = np.random.default_rng(2)
    arrays = [random.standard_normal((1, 3, 16, 16), np.float32)]
    arrays += [random.standard_normal([int(d) for d in p.shape]).astype(np.float32) * 0.2 for _, p in parameters]

    def outcome(target: tvm.target.Target, device: tvm.runtime.Device) -> np.ndarray:
        with target:
            lowered = relax.get_pipeline("zero")(module)
            if target.kind.name == "cuda":
                lowered = dlight.ApplyDefaultSchedule(dlight.gpu.Reduction(), dlight.gpu.Fallback())(lowered)
        machine = relax.VirtualMachine(tvm.compile(lowered, target=target), device)
        return machine["main"](*(tvm.runtime.tensor(array, device) for array in arrays)).numpy()

    expected = outcome(tvm.target.Target("llvm"), tvm.cpu())
    limits = {"max_threads_per_block": 1024, "max_shared_memory_per_block": 49152, "thread_warp_size": 32}
    with simulated_cuda("sm_80", order="reverse"):
        simulated = outcome(tvm.target.Target({**TARGET, **limits}, host="llvm"), tvm.cuda(0))
    np.testing.assert_allclose(simulated, expected, rtol=1e-5, atol=1e-6)


def test_the_real_cuda_is_not_mixed_with_a_simulation(tmp_path: object) -> None:
    """A library of CUDA's name in the process is refused, in words."""
    program = (
        "import ctypes, pathlib, subprocess, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "library = folder / 'libcuda.so.1'\n"
        "subprocess.run(['g++', '-shared', '-x', 'c++', '/dev/null', '-o', library], check=True)\n"
        "ctypes.CDLL(str(library))\n"
        "from dsc.errors import UsageError\n"
        "from dsc.simulator import simulated_cuda\n"
        "try:\n"
        "    with simulated_cuda(): pass\n"
        "except UsageError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "has loaded the real CUDA" in result.stdout
    assert str(tmp_path) in result.stdout
