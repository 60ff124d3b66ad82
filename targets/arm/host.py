"""The host as an Arm machine: its core by the numbers it says itself, and the cores that this process may use."""

from __future__ import annotations

from dataclasses import replace

from dsc.errors import UsageError
from dsc.host import FAMILY, cpu_features, cpu_part, usable_cores
from dsc.targets.arm.machines import BY_TAG
from dsc.targets.cpu.host import with_caches
from dsc.targets.cpu.machine import Cpu

ARM, APPLE = 0x41, 0x61
PARTS = {
    (ARM, 0xD03): "cortex-a53",
    (ARM, 0xD08): "cortex-a72",
    (ARM, 0xD0B): "cortex-a76",
    (ARM, 0xD0C): "neoverse-n1",
    (ARM, 0xD40): "neoverse-v1",
    (ARM, 0xD4F): "neoverse-v2",
    (APPLE, 0x022): "apple-m1",
    (APPLE, 0x023): "apple-m1",
}
"""Implementer and part number of MIDR_EL1 (Linux, arch/arm64/include/asm/cputype.h): tag."""
_LEVELS = ("neoverse-v1", "cortex-a76", "armv8-a")
"""What is taken for another core: the first whose features it has."""


def native() -> Cpu:
    """The host. Raises `UsageError` where that is no 64-bit Arm."""
    if FAMILY != "arm":
        raise UsageError("this host is no 64-bit Arm")
    return replace(with_caches(closest(cpu_part(), cpu_features())), cores=usable_cores())


def closest(part: tuple[int, int] | None, features: frozenset[str]) -> Cpu:
    """The host's own tag, or the best level; either only if the host (or its hypervisor) has all features."""
    own = [PARTS[part]] if part in PARTS else []
    fitting = [BY_TAG[tag] for tag in (*own, *_LEVELS) if BY_TAG[tag].features <= features]
    if not fitting:
        raise UsageError("this host has no Advanced SIMD, which all kernels use")
    return fitting[0]
