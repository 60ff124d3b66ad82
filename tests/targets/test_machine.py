"""Machines by tag, and the host."""

from __future__ import annotations

import os

import pytest
import tvm

from dsc import targets
from dsc.errors import UsageError
from dsc.host import usable_cores
from dsc.targets import registry
from dsc.targets.kernel import Rearrange, Work, roofline
from dsc.targets.x86 import X86, host


def test_the_default_is_the_host():
    assert targets.machine("x86") == targets.machine() == host.native()


def test_every_tag_makes_a_tvm_target():
    for tag in targets.tags():
        target = targets.machine(tag).tvm_target()
        assert isinstance(target, tvm.target.Target)
        assert targets.machine(tag).vector_bits in (128, 256, 512)


@pytest.mark.parametrize("tag", ["x86:pentium", "riscv", "x86 :avx2"])
def test_unknown_targets_are_refused_with_those_known(tag):
    with pytest.raises(UsageError, match="known"):
        targets.machine(tag)


def test_zen4_and_zen5_differ_in_peak_not_in_width():
    zen4, zen5 = targets.machine("x86:znver4"), targets.machine("x86:znver5")
    assert (zen4.lanes(), zen5.lanes()) == (16, 16)
    assert (zen4.fma_vectors, zen5.fma_vectors) == (1.0, 2.0)
    assert targets.machine("x86:avx2").fma_vectors == 2.0


def test_a_host_whose_hypervisor_hides_avx512_is_not_given_it(monkeypatch):
    flags = frozenset(_all_flags()) - {"avx512vl"}
    monkeypatch.setattr(host, "cpu_features", lambda: flags)
    monkeypatch.setattr(host, "_llvm_cpu", lambda: "znver4")
    found = native()
    assert found.mcpu == "x86-64-v3"
    assert found.required_features() <= flags


def test_a_host_without_sse42_is_refused(monkeypatch):
    monkeypatch.setattr(host, "cpu_features", frozenset)
    with pytest.raises(UsageError, match="x86:haswell"):
        native()


def test_missing_system_files_leave_the_defaults(monkeypatch):
    monkeypatch.setattr(host, "cache_sizes", dict)
    monkeypatch.setattr(host, "cpu_features", lambda: frozenset(_all_flags()))
    monkeypatch.setattr(host, "_llvm_cpu", lambda: "znver4")
    assert native().l2_bytes == targets.machine("x86:znver4").l2_bytes


def test_roofline_shares_whole_tasks_between_cores():
    machine = targets.machine("x86:znver4")
    alone = roofline(machine, Work(flops=1e9, bytes=0))
    assert alone == pytest.approx(1e9 / machine.peak_flops)
    nine = roofline(machine, Work(flops=9e9, bytes=0, tasks=9))  # 8 cores: two rounds
    assert nine == pytest.approx(2 * alone + machine.launch_seconds)


def test_rearrange_packs_a_transposed_weight():
    import numpy as np

    array = np.random.default_rng(0).standard_normal((7, 5))
    packed = Rearrange(before=(1, 0), pad=(0, 1), reshape=(5, 2, 4), transpose=(1, 0, 2)).apply(array)
    assert packed.shape == (2, 5, 4)
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
    from dsc.targets.x86.machines import CORES

    return set().union(*(core.features for core in CORES.values()))


def test_the_last_kernel_of_a_machine_takes_anything():
    names = [kernel.name for kernel in targets.kernels(targets.machine())]
    assert names[-1] == "cpu.generic"
    assert len(set(names)) == len(names)
    assert {"cpu.gemm", "cpu.attention"} < set(names)


def test_a_third_party_adds_a_family_by_an_entry_point(monkeypatch):
    class Toy(X86):
        name = "toy"

    class Entry:
        name = "toy"

        def load(self) -> type[Toy]:
            return Toy

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()] if group == "dsc.targets" else [])
    registry.families.cache_clear()
    try:
        assert targets.machine("toy:haswell").mcpu == "haswell"
        assert "toy:haswell" in targets.tags()
    finally:
        registry.families.cache_clear()
