"""What a machine's table does not know of the host: its caches, and which features it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dsc.host import cache_sizes
from dsc.targets.cpu.machine import Cpu
from dsc.targets.machine import MultiplyAdd


def with_caches(machine: Cpu) -> Cpu:
    """The machine with the caches that the system tells of; many boards tell of none."""
    sizes = cache_sizes()
    return replace(
        machine,
        l1_bytes=sizes.get(1, machine.l1_bytes),
        l2_bytes=sizes.get(2, machine.l2_bytes),
        l3_bytes=sizes.get(3, machine.l3_bytes),
    )


def fitted(
    machine: Cpu, shown: frozenset[str], llvm: Mapping[str, str], rows: Sequence[MultiplyAdd] | None = None
) -> Cpu:
    """A machine of the table as a host has it, of whose features a hypervisor may hide some.

    shown: the host's features, as Linux names them; llvm: LLVM's names of those that code may use.
    rows: instructions that it may have besides, or instead: its own by default. Those whose features are shown stay.
    LLVM is told what is missing of what its `mcpu` has, and what there is beyond that.
    """
    instructions = tuple(row for row in rows or machine.instructions if shown.issuperset(row.requires))
    features = shown.intersection(machine.features.union(*(row.requires for row in instructions)))
    off = [f"-{llvm[feature]}" for feature in sorted(machine.features - features)]
    on = [f"+{llvm[feature]}" for feature in sorted(features - machine.features)]
    return replace(machine, features=features, instructions=instructions, mattr=(*off, *on))


def lost(named: Cpu, found: Cpu) -> list[str]:
    """What kernels have on one machine and not on the other: wide vectors, instructions."""
    kept = {row.name for row in found.instructions}
    gone = {row.name: f"no {row.name}, which multiplies {row.a}" for row in named.instructions if row.name not in kept}
    narrower = found.vector_bits < named.vector_bits
    return [f"vectors of {found.vector_bits} bits, not {named.vector_bits}"] * narrower + list(gone.values())


def remark(named: Cpu, found: Cpu, shown: frozenset[str]) -> str:
    """One sentence on a host that shows less than the processor it names has; empty where it shows all."""
    hidden = sorted(named.features - shown)
    if not hidden:
        return ""
    taken = "" if found.mcpu == named.mcpu else f"; code is as for {found.name}"
    follows = ", ".join(lost(named, found)) or "kernels lose nothing by it"
    return f"{named.name} without {' '.join(hidden)}, which this host does not show{taken}: {follows}"
