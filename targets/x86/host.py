"""The host as a `Cpu`: its lasting facts, and the cores that this process may use now."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import tvm

from dsc.errors import UsageError
from dsc.host import cpu_features, usable_cores
from dsc.targets.cpu.host import with_caches
from dsc.targets.cpu.machine import Cpu
from dsc.targets.x86.machines import BY_TAG

_LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64-v2")


def native() -> Cpu:
    """The host. Raises `UsageError` where that is not an x86-64 with at least SSE 4.2."""
    return replace(_lasting(), cores=usable_cores())


@cache
def _lasting() -> Cpu:
    machine = _closest(_llvm_cpu(), cpu_features())
    if machine is None:
        raise UsageError("this host is no x86-64 with SSE 4.2")
    return with_caches(machine)


def _closest(cpu: str, found: frozenset[str]) -> Cpu | None:
    """The host's own tag, or the best level; either only if the host (or its hypervisor) has all features."""
    own = [tag for tag, machine in BY_TAG.items() if machine.mcpu == cpu]
    for tag in (*own, *_LEVELS):
        if BY_TAG[tag].features <= found:
            return BY_TAG[tag]
    return None


def _llvm_cpu() -> str:
    return str(tvm.target.codegen.llvm_get_system_cpu())
