"""64-bit Arm: machines, the host, and what stands in for it elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tvm

from dsc import host as system
from dsc import targets
from dsc.errors import UsageError
from dsc.targets.arm import Arm, host
from dsc.targets.arm.machines import BY_TAG, FEATURES, MACHINES
from dsc.targets.cpu.machine import Cpu


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_an_artifact_needs_what_llvm_may_use(machine: Cpu) -> None:
    """And no more."""
    target = tvm.target.Target({"kind": "llvm", "mcpu": machine.mcpu, "mtriple": machine.triple})
    enabled = {str(feature) for feature in tvm.target.codegen.llvm_get_cpu_features(target)}
    assert machine.features == {ours for ours, theirs in FEATURES.items() if theirs in enabled}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_rows_fit_the_features(machine: Cpu) -> None:
    required = {feature for row in machine.instructions for feature in row.requires}
    assert required == machine.features & {"asimddp", "i8mm", "bf16"}
    assert all(row.m * row.n == 4 and row.source for row in machine.instructions)
    assert machine.vector_rate == machine.multiply_add(4).rate


def cpuinfo(part: int, features: str, implementer: int = 0x41) -> str:
    """Of a system with two kinds of cores, the fast ones of this kind."""
    lines = [f"Features\t: {features}", f"CPU implementer\t: {implementer:#x}", "CPU part\t: 0xd05", ""]
    return "\n".join(["processor\t: 0", *lines, "processor\t: 1", *lines[:-2], f"CPU part\t: {part:#x}", ""])


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def say(text: str) -> Cpu:
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(system, "_CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(host, "FAMILY", "arm")
        forget()
        return host.native()

    yield say
    forget()


def forget() -> None:
    for known in (system._cpuinfo, system.cpu_part, system.cpu_features, system.cache_sizes, host._lasting):
        known.cache_clear()


@pytest.mark.parametrize(
    ("part", "tag", "without", "found", "mattr"),
    [
        (0xD0B, "cortex-a76", "", "cortex-a76", ""),
        (0xD40, "neoverse-v1", "", "neoverse-v1", ""),
        (0xD40, "neoverse-v1", "sve", "neoverse-v1", "-sve"),  # as a hypervisor may hide it
        (0xD4F, "neoverse-v2", "sve sve2 svebitperm", "neoverse-v2", "-sve -sve2 -sve-bitperm"),
        (0xD40, "neoverse-v1", "i8mm", "neoverse-v1", "-i8mm"),
        (0xD0B, "cortex-a76", "asimddp", "cortex-a76", "-dotprod"),
        (0xD99, "neoverse-v1", "", "neoverse-v1", ""),  # a core that is not listed
        (0xD99, "neoverse-v1", "sve fcma", "neoverse-v1", "-complxnum -sve"),
        (0xD99, "neoverse-v1", "bf16", "cortex-a76", ""),
        (0xD99, "cortex-a72", "", "armv8-a", ""),
    ],
)
def test_the_host_by_what_it_says(says, part: int, tag: str, without: str, found: str, mattr: str) -> None:
    features = BY_TAG[tag].features - set(without.split())
    machine = says(cpuinfo(part, " ".join(sorted(features))))
    assert machine.mcpu == BY_TAG[found].mcpu
    assert machine.mattr == tuple(mattr.split())
    assert machine.features <= features
    assert machine.cores == system.usable_cores()
    assert {f for row in machine.instructions for f in row.requires} == features & {"asimddp", "i8mm", "bf16"} - (
        {"i8mm"} if found == "cortex-a76" else set()
    )


def test_hidden_features_are_switched_off_for_llvm_and_told_of(says, caplog: pytest.LogCaptureFixture) -> None:
    features = BY_TAG["neoverse-v1"].features
    with caplog.at_level(logging.WARNING):
        assert says(cpuinfo(0xD40, " ".join(features - {"sve"}))).remark.endswith("kernels lose nothing by it")
        assert not caplog.text
        machine = says(cpuinfo(0xD40, " ".join(features - {"i8mm"})))
    assert "arm:neoverse-v1 without i8mm, which this host does not show: no usdot, which" in caplog.text
    enabled = {str(f) for f in tvm.target.codegen.llvm_get_cpu_features(Arm().backend(machine).target)}
    assert {ours for ours, theirs in FEATURES.items() if theirs in enabled} == machine.features


def test_an_apple_core_is_no_arm_core(says) -> None:
    features = " ".join(BY_TAG["apple-m1"].features)
    assert says(cpuinfo(0x022, features, implementer=0x61)).mcpu == "apple-m1"
    assert says(cpuinfo(0x022, features)).mcpu == "cortex-a76"  # the level with all of its instructions


def test_a_host_without_vectors_is_refused(says) -> None:
    with pytest.raises(UsageError, match="no Advanced SIMD"):
        says(cpuinfo(0xD0B, "fp"))


@pytest.mark.skipif(system.FAMILY == "arm", reason="the host is an Arm")
def test_elsewhere_the_name_alone_is_the_default_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = targets.target("arm")
    assert found.name == f"arm:{Arm.default}" == "arm:cortex-a76"
    assert "this host is no 64-bit Arm; arm means arm:cortex-a76 then" in caplog.text
    for also in ("arm64", "aarch64"):
        assert targets.target(f"{also}:neoverse-n1").machine == BY_TAG["neoverse-n1"]
    with pytest.raises(UsageError, match="this host is no 64-bit Arm"):
        targets.target("arm:native")


def test_without_the_cross_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(Arm, "is_host", False)
    with pytest.raises(UsageError, match=r"\(aarch64-linux-gnu-gcc\).*apt-get install gcc-aarch64-linux-gnu"):
        targets.target("arm:cortex-a76").backend().require_tools()
