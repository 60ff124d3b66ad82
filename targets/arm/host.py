"""The host as an Arm machine: its core by the numbers it says itself, and the cores that this process may use."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

from dsc.errors import UsageError
from dsc.host import FAMILY, cpu_features, cpu_part, usable_cores
from dsc.targets.arm.machines import BY_TAG, FEATURES
from dsc.targets.cpu.host import fitted, lost, remark, with_caches
from dsc.targets.cpu.machine import Cpu

_LOG = logging.getLogger(__name__)

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
"""What is taken for another core: the first all of whose instructions it has."""
VECTORS = frozenset(("fp", "asimd"))
"""What all kernels use; code does without any other feature."""


def native() -> Cpu:
    """The host. Raises `UsageError` where that is no 64-bit Arm.

    Where kernels lack what its core has otherwise, a warning says so, once.
    """
    return replace(_lasting(), cores=usable_cores())


@cache
def _lasting() -> Cpu:
    if FAMILY != "arm":
        raise UsageError("this host is no 64-bit Arm")
    part = cpu_part()
    machine = closest(part, cpu_features())
    if part in PARTS and lost(BY_TAG[PARTS[part]], machine):
        _LOG.warning("%s", machine.remark)
    return with_caches(machine)


def closest(part: tuple[int, int] | None, shown: frozenset[str]) -> Cpu:
    """What a core is that gives this implementer and part number, of whose features Linux shows these.

    Its own row of the table without what is hidden, as a hypervisor may hide SVE; of one that is not listed, the best
    level whose instructions it has. It never uses what is not shown.
    """
    if not shown >= VECTORS:
        raise UsageError("this host has no Advanced SIMD, which all kernels use")
    if part in PARTS:
        own = BY_TAG[PARTS[part]]
        found = fitted(own, shown, FEATURES)
        return replace(found, remark=remark(own, found, shown))
    level = next(level for level in map(BY_TAG.__getitem__, _LEVELS) if _has_all(level, shown))
    text = f"a core that is not listed: figures are those of {level.name}"
    return replace(fitted(level, shown, FEATURES), remark=text)


def _has_all(level: Cpu, shown: frozenset[str]) -> bool:
    return all(shown.issuperset(row.requires) for row in level.instructions)
