"""How long the inner loops take: issue, loads and latency of one step of a register tile."""

from __future__ import annotations

from dsc.lower.exprs import ceildiv
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import most_rows
from dsc.targets.machine import MultiplyAdd

STORE_CYCLES = 3.0
"""Cycles from an accumulator to memory through a typical epilogue, for one vector."""
TILE_CYCLES = 20.0
"""Cycles to begin and end a register tile: addresses, and the drain of the pipeline."""


def together(machine: Cpu, instruction: MultiplyAdd, neighbours: int) -> int:
    """Steps whose elements of the input are loaded together and multiplied from their lanes: as many as a vector has
    lanes, or half of that, where lanes are operands and that divides the steps of the `neighbours` which lie side by
    side."""
    steps, lanes = neighbours // instruction.k, instruction.n if machine.lane_operand else 1
    return next((count for count in (lanes, lanes // 2) if count > 1 and steps % count == 0), 1)


def step_cycles(machine: Cpu, instruction: MultiplyAdd, vectors: int, width: int, depth: int = 1) -> float:
    """Cycles of one step of the reduction: `vectors` loads, `width` broadcasts, all their products.

    Where an instruction takes a broadcast from memory itself, one that a single product uses costs nothing. Where
    `depth` steps load elements together, there are vectors of them in place of broadcasts.
    """
    lanes = instruction.n
    arithmetic = vectors * width / instruction.rate
    elements = width / machine.broadcasts if depth == 1 else width * 32 / machine.load_bits
    loads = vectors * max(1.0 / machine.pipes, 32 * lanes / machine.load_bits) + elements
    folded = vectors == 1 and machine.broadcast_operand
    products = vectors * width * (1 if instruction.accumulates else 2)
    issue = (products + vectors + (0 if folded else width / depth) + 2) / machine.issue
    return max(arithmetic, loads, issue, float(instruction.latency))


def widths(machine: Cpu, instruction: MultiplyAdd, vectors: int, columns: int, depth: int = 1) -> list[int]:
    """Tile widths that waste least: for each number of tiles in a row the narrowest one, widest first.

    depth: as `step_cycles` has it.
    """
    widest = min(columns, most_rows(instruction, vectors, machine.vector_registers, depth > 1))
    return [width for width in range(widest, 0, -1) if width == ceildiv(columns, ceildiv(columns, width))]


def cold_weights(machine: Cpu, size: float) -> float:
    """Seconds until `size` bytes of weights are read from memory, where they are when a network comes to a layer."""
    return size / machine.bandwidth(4.0 * machine.l3_bytes + size, machine.cores)
