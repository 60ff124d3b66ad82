"""How long the inner loops of a sparse product take."""

from __future__ import annotations

from dsc.targets.cpu.machine import Cpu
from dsc.targets.machine import MultiplyAdd

GROUP_CYCLES = 25.0
"""Beginning and ending the entries of a group: their number is not known, so the last jump is a wrong guess."""
TURN_CYCLES = 1.25
"""For one vector of a square that is turned, for each halving; loading and storing included."""
STORE_CYCLES = 2.0
"""One vector of outputs through an epilogue."""
LATENCIES = 1.3
"""Of a product that an entry takes at least: the next one adds to the same sums."""
ENTRY_INSTRUCTIONS = 4
"""Of an entry besides loads and products: reading its offset, scaling it, counting, the jump."""


def entry_cycles(machine: Cpu, instruction: MultiplyAdd, outputs: int, vectors: int, far: bool) -> float:
    """Of one entry: its products, what they load, and how many instructions that is.

    far: whether the inputs come from L2.
    """
    products = outputs * vectors / instruction.rate
    loaded = 4 * vectors * instruction.n
    loads = 8 * loaded / machine.load_bits + outputs / machine.broadcasts
    if far:
        loads = max(loads, loaded * machine.frequency / machine.l2_bandwidth)
    issue = (outputs * vectors + outputs + vectors + ENTRY_INSTRUCTIONS) / machine.issue
    return max(products, loads, issue, LATENCIES * instruction.latency)


def turn_cycles(lanes: int) -> float:
    """Of a square of so many lanes."""
    return TURN_CYCLES * lanes * (lanes.bit_length() - 1)
