"""The GPU of this host, as AMD's kernel driver describes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dsc.errors import UsageError
from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm.machines import BY_TAG

TOPOLOGY = Path("/sys/class/kfd/kfd/topology/nodes")
"""A folder for each processor, CPUs too; `properties` has a name and a number in each line (Linux, amdkfd)."""
LOCAL_MEMORY = frozenset({1, 2})
"""Kinds of `heap_type` that are a GPU's own memory: visible to the host, and not."""


def native() -> Gpu:
    """The first GPU that the driver shows. Raises `UsageError` where there is none, or none that is known."""
    for node in sorted(TOPOLOGY.glob("*"), key=lambda path: int(path.name)):
        facts = _properties(node / "properties")
        if facts.get("simd_count", 0) and (version := facts.get("gfx_target_version", 0)):
            return _as_found(arch_of(version), facts, _memory(node))
    raise UsageError(
        f"rocm:native needs an AMD GPU with its driver (amdgpu, which lists GPUs in {TOPOLOGY}), and there is none "
        "here; name a machine to compile for another, as rocm:gfx942"
    )


def arch_of(version: int) -> str:
    """``gfx90a`` of 90010: major, minor and stepping in two decimal digits each, the latter in hexadecimal there."""
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{stepping:x}"


def _as_found(arch: str, facts: dict[str, int], memory: int) -> Gpu:
    """The machine of that instruction set, with what the driver says of this one. Raises `UsageError` for others."""
    if arch not in BY_TAG:
        raise UsageError(f"this GPU is {arch}, for which there are no facts; known are {', '.join(BY_TAG)}")
    machine = BY_TAG[arch]
    units = facts["simd_count"] // facts.get("simd_per_cu", 1)
    megahertz = facts.get("max_engine_clk_fcompute", 0)
    return replace(
        machine,
        name="rocm:native",
        cores=units,
        frequency=megahertz * 1e6 or machine.frequency,
        memory_bytes=memory or machine.memory_bytes,
    )


def _memory(node: Path) -> int:
    """Bytes of a GPU's own memory."""
    banks = [_properties(bank) for bank in (node / "mem_banks").glob("*/properties")]
    return sum(bank["size_in_bytes"] for bank in banks if bank.get("heap_type") in LOCAL_MEMORY)


def _properties(file: Path) -> dict[str, int]:
    """Names and numbers; nothing of what cannot be read, as nodes of others in a container."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}
