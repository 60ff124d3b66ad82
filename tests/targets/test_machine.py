"""Machines by tag, and the host."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import tvm

from dsc import targets
from dsc.errors import UsageError
from dsc.host import usable_cores
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import ArrayType, Rearrange, Work, roofline
from dsc.targets.machine import MultiplyAdd
from dsc.targets.x86 import host
from dsc.targets.x86.machines import MACHINES


def test_the_default_is_the_host():
    assert targets.target("x86").machine == targets.target().machine == host.native()
    assert targets.target("native").machine == host.native()


def test_every_tag_makes_a_tvm_target():
    for tag in targets.tags():
        assert isinstance(targets.target(tag).backend().target, tvm.target.Target)
    for machine in MACHINES:
        assert machine.vector_bits in (128, 256, 512)


def test_rows_say_where_they_are_from_and_widest_first():
    for machine in MACHINES:
        assert machine.source
        assert all(row.source for row in machine.instructions)
        for row in machine.instructions:
            widths = [same.n for same in machine.multiply_adds(*row.operands)]
            assert widths == sorted(widths, reverse=True)
            assert row.n * 32 <= machine.vector_bits


def test_an_instruction_is_found_by_its_operands_and_lanes():
    zen4 = targets.target("x86:znver4").machine
    assert zen4.multiply_add(16).rate == 1.0
    assert zen4.multiply_add(8).rate == zen4.multiply_add(4).rate == zen4.multiply_add(2).rate == 2.0
    dot = zen4.multiply_add(16, "uint8", "int8", "int32")
    assert (dot.name, dot.k, dot.operations) == ("vpdpbusd", 4, 128)
    with pytest.raises(LookupError, match="x86:znver3 has no instruction for 16 sums of uint8"):
        targets.target("x86:znver3").machine.multiply_add(16, "uint8", "int8", "int32")


def test_peaks_follow_from_the_rows():
    zen4, haswell = (targets.target(f"x86:{tag}").machine for tag in ("znver4", "haswell"))
    assert zen4.peak() == 2 * 16 * zen4.frequency
    assert zen4.peak("uint8") == 4 * zen4.peak()
    assert haswell.peak() == 2 * 2 * 8 * haswell.frequency


@pytest.mark.parametrize("tag", ["x86:pentium", "riscv", "x86 :avx2"])
def test_unknown_targets_are_refused_with_those_known(tag):
    with pytest.raises(UsageError, match="known"):
        targets.target(tag)


def test_zen4_and_zen5_differ_in_peak_not_in_width():
    zen4, zen5 = (targets.target(f"x86:{tag}").machine for tag in ("znver4", "znver5"))
    assert (zen4.lanes(), zen5.lanes()) == (16, 16)
    assert (zen4.vector_rate, zen5.vector_rate) == (1.0, 2.0)
    assert targets.target("x86:avx2").machine.vector_rate == 2.0


def test_a_host_without_sse42_is_refused(monkeypatch):
    monkeypatch.setattr(host, "cpu_features", frozenset)
    with pytest.raises(UsageError, match=r"no x86-64 with SSE 4\.2"):
        native()


def test_missing_system_files_leave_the_defaults(monkeypatch):
    monkeypatch.setattr("dsc.targets.cpu.host.cache_sizes", dict)
    monkeypatch.setattr(host, "cpu_features", lambda: frozenset(_all_flags()))
    monkeypatch.setattr(host, "_llvm_cpu", lambda: "znver4")
    assert native().l2_bytes == targets.target("x86:znver4").machine.l2_bytes


def test_roofline_shares_whole_tasks_between_cores():
    machine = targets.target("x86:znver4").machine
    alone = roofline(machine, Work(operations=1e9, bytes=0))
    assert alone == pytest.approx(1e9 / machine.peak())
    nine = roofline(machine, Work(operations=9e9, bytes=0, tasks=9))  # 8 cores: two rounds
    assert nine == pytest.approx(2 * alone + machine.launch_seconds)


def test_times_of_other_instructions_are_of_another_machine():
    haswell = targets.target("x86:haswell").machine
    assert haswell.describe() != replace(haswell, instructions=haswell.instructions[:1]).describe()


def test_instructions_on_matrices_are_no_register_tiles():
    haswell = targets.target("x86:haswell").machine
    matrices = replace(haswell.instructions[0], m=2)
    assert replace(haswell, instructions=(matrices,)).multiply_adds(*matrices.operands) == ()


def test_multiprocessors_of_a_gpu_share_its_memory():
    row = MultiplyAdd(name="FFMA", a="float32", b="float32", accumulator="float32", n=32, rate=2, latency=4, source="")
    gpu = Gpu(
        name="gpu:test", source="", arch="test", frequency=1e9, cores=10, launch_seconds=1e-5, instructions=(row,),
        warp=32, max_threads=1024, resident_threads=2048, resident_blocks=16, shared_bytes=1 << 15,
        shared_bytes_total=1 << 16, registers=1 << 16, registers_per_thread=255, memory_bytes=1 << 30, l2_bytes=1 << 20,
        l2_bandwidth=4e12, dram_bandwidth=1e12,
    )  # fmt: skip
    assert [gpu.bandwidth(size, 5) for size in (1 << 20, 1 << 21)] == [2e12, 0.5e12]
    assert roofline(gpu, Work(operations=0, bytes=2e12, tasks=10)) == pytest.approx(2 + 1e-5)
    assert "FFMA-1x32x1" in gpu.describe()


def test_rearrange_packs_a_transposed_weight():
    import numpy as np

    array = np.random.default_rng(0).standard_normal((7, 5))
    (packed,) = Rearrange(before=(1, 0), pad=(0, 1), reshape=(5, 2, 4), transpose=(1, 0, 2)).apply(array)
    assert packed.shape == (2, 5, 4)
    given = ArrayType(array.shape, "float64")
    assert Rearrange((0, 1), (5, 2, 4), (1, 0, 2), (1, 0)).arrays(given) == (ArrayType(packed.shape, "float64"),)
    assert packed[1, 3, 2] == array[6, 3]
    assert packed[1, 3, 3] == 0


def test_the_host_has_the_cores_that_this_process_may_use(monkeypatch):
    """As many as a run uses: kernels are chosen for those and measured on those, whatever the machine has."""
    assert native().cores == usable_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert native().cores == usable_cores() == 1


def native():
    """The host, read again."""
    host._lasting.cache_clear()
    try:
        return host.native()
    finally:
        host._lasting.cache_clear()


def _all_flags() -> set[str]:
    return set().union(*(machine.features for machine in MACHINES))


def test_the_last_kernel_of_a_machine_takes_anything():
    names = [kernel.name for kernel in targets.target().kernels()]
    assert names[-1] == "cpu.generic"
    assert len(set(names)) == len(names)
    assert {"cpu.gemm", "cpu.attention"} < set(names)
