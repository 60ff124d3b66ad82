"""The host as a `Cpu`: its lasting facts, and the cores that this process may use now."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

import tvm

from dsc.errors import UsageError
from dsc.host import cpu_features, usable_cores
from dsc.targets.cpu.host import fitted, lost, remark, with_caches
from dsc.targets.cpu.machine import Cpu
from dsc.targets.machine import MultiplyAdd
from dsc.targets.x86.machines import AMD_LINE, FEATURES, INTEL_LINE, LEVELS, SAME_CORES, VECTORS, with_extras

_LOG = logging.getLogger(__name__)


def native() -> Cpu:
    """The host. Raises `UsageError` where that is not an x86-64 with at least SSE 4.2.

    Where kernels lack what its processor has otherwise, a warning says so, once.
    """
    return replace(_lasting(), cores=usable_cores())


@cache
def _lasting() -> Cpu:
    cpu, shown = _llvm_cpu(), cpu_features()
    machine = closest(cpu, shown)
    if machine is None:
        raise UsageError("this host is no x86-64 with SSE 4.2")
    if lost(_named(cpu) or machine, machine):
        _LOG.warning("%s", machine.remark)
    return with_caches(machine)


def closest(cpu: str, shown: frozenset[str]) -> Cpu | None:
    """What a processor is that LLVM calls `cpu`, of whose features Linux shows these; None for one without SSE 4.2.

    Its own row of the table without what is hidden; where that are its vectors, the nearest older one of its maker that
    does without. Of a processor that LLVM does not know, only features tell: it is one of the levels of x86-64, with
    the instructions beyond that. It never uses what is not shown.
    """
    named = _named(cpu)
    line = LEVELS if named is None else _line(named)
    base = next((machine for machine in line if VECTORS[machine.vector_bits] <= shown), None)
    if base is None:
        return None
    found = fitted(base, shown, FEATURES, (*base.instructions, *_beyond(base)))
    found = with_extras(found)
    if named is None:
        return replace(found, remark=f"LLVM does not know this processor ({cpu}): figures are those of {base.name}")
    return replace(found, remark=remark(named, found, shown))


def _named(cpu: str) -> Cpu | None:
    """The row of the table for LLVM's name of a processor."""
    name = SAME_CORES.get(cpu, cpu)
    return next((machine for machine in (*INTEL_LINE, *AMD_LINE) if machine.mcpu == name), None)


def _line(machine: Cpu) -> tuple[Cpu, ...]:
    """The machine, older ones of its maker, and what takes any host."""
    line = AMD_LINE if machine in AMD_LINE else INTEL_LINE
    return (*line[line.index(machine) :], LEVELS[-1])


def _beyond(base: Cpu) -> tuple[MultiplyAdd, ...]:
    """Instructions that a machine does not have by itself, but others of its maker with vectors as wide."""
    known = {row.operands for row in base.instructions}
    found: dict[tuple[str, str, str], tuple[MultiplyAdd, ...]] = {}
    for machine in AMD_LINE if base in AMD_LINE else INTEL_LINE:
        if machine.vector_bits == base.vector_bits:
            rows = (row for row in machine.instructions if row.operands not in known)
            for operands in dict.fromkeys(row.operands for row in rows):
                found[operands] = machine.multiply_adds(*operands)  # the nearest one's: the line begins with the newest
    return tuple(row for rows in found.values() for row in rows)


def _llvm_cpu() -> str:
    return str(tvm.target.codegen.llvm_get_system_cpu())
