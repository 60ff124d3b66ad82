"""How long the inner loops of a sparse product take, and the tiles whose sums fit the registers."""

from __future__ import annotations

import math

from dsc.sparsity import Pattern
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
ALONE = 0.85
"""The same of an entry of one output, whose group's end waits for nothing else."""
ENTRY_INSTRUCTIONS = 4
"""Of an entry besides loads and products: reading its offset, scaling it, counting, the jump."""
LINES_APART = 1.9
"""Of the time that L2 takes for lines in a row: that for some here and some there, as entries read them."""
LINE = 64
"""Bytes."""
CROSSING = 1.75
"""Of the time of loads: that of those that begin anywhere, most of which take two lines."""
OVERLAPPING = 0.5
"""Latencies that a whole entry takes at least: so few instructions that the next group's are under way by then."""
SHUFFLES = 8
"""That interleave four vectors of bytes."""
MOST_VECTORS = 8
OUTPUTS = 4
"""Of an entry at most: what is loaded for one is multiplied so often that larger blocks gain nothing."""


def entry_depth(instruction: MultiplyAdd, pattern: Pattern) -> int:
    """Inputs of an entry: as many as are multiplied at once, where blocks have so many neighbours."""
    return instruction.k if pattern.depth % instruction.k == 0 else 1


def entry_outputs(machine: Cpu, instruction: MultiplyAdd, pattern: Pattern, depth: int = 1) -> int:
    """Outputs of an entry of so many inputs: as many of a block's as share what is loaded, a power of two.

    Where bytes are interleaved, their sums of four vectors must have registers beside these.
    """
    fitting = OUTPUTS
    if instruction.k > depth:
        fitting = max(1, (machine.vector_registers - 2 * instruction.k) // instruction.k)
    return math.gcd(pattern.outputs, OUTPUTS, 1 << (fitting.bit_length() - 1))


def tile_vectors(machine: Cpu, instruction: MultiplyAdd, outputs: int, depth: int = 1) -> range:
    """Numbers of vectors of a tile: its sums and its inputs have registers, and two are left for what is loaded ahead.

    Bytes are interleaved as four vectors.
    """
    if instruction.k > depth:
        return range(instruction.k, instruction.k + 1)
    return range(1, min(MOST_VECTORS, (machine.vector_registers - 2) // (outputs + 1)) + 1)


def step_cycles(
    machine: Cpu,
    instruction: MultiplyAdd,
    outputs: int,
    vectors: int,
    far: float,
    depth: int = 1,
    *,
    anywhere: bool = False,
) -> float:
    """Of one step of entries: its products, what they load, and how many instructions that is.

    far: the share of the inputs that come from L2. depth: of an entry. anywhere: whether what an entry reads begins at
    any place of a line, as taps do, and not at the first.
    """
    entries = instruction.k // depth
    shuffles = 0 if entries == 1 else SHUFFLES
    products = outputs * vectors / instruction.rate + shuffles / machine.pipes
    loaded = 4 * vectors * instruction.n
    loads = (CROSSING if anywhere else 1.0) * 8 * loaded / machine.load_bits + outputs / machine.broadcasts
    fetched = loaded + (LINE * entries if anywhere else 0)
    loads += far * max(0.0, LINES_APART * fetched * machine.frequency / machine.l2_bandwidth - loads)
    issue = (outputs * vectors + outputs + vectors + shuffles + ENTRY_INSTRUCTIONS * entries) / machine.issue
    latencies = OVERLAPPING if depth > 1 else ALONE if outputs == 1 else LATENCIES
    return max(products, loads, issue, latencies * instruction.latency)


def turn_cycles(lanes: int) -> float:
    """Of a square of so many lanes."""
    return TURN_CYCLES * lanes * (lanes.bit_length() - 1)
