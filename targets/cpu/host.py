"""What a machine's table does not know of the host: its caches."""

from __future__ import annotations

from dataclasses import replace

from dsc.host import cache_sizes
from dsc.targets.cpu.machine import Cpu


def with_caches(machine: Cpu) -> Cpu:
    """The machine with the caches that the system tells of; many boards tell of none."""
    sizes = cache_sizes()
    return replace(
        machine,
        l1_bytes=sizes.get(1, machine.l1_bytes),
        l2_bytes=sizes.get(2, machine.l2_bytes),
        l3_bytes=sizes.get(3, machine.l3_bytes),
    )
