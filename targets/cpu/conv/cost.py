"""How long the inner loops take: issue, loads and latency of one step of a register tile."""

from __future__ import annotations

from collections.abc import Iterator

from dsc.targets.machine import Machine

PIPES = 2
"""Vector operations that start per cycle at most, however narrow they are."""
ISSUE = 4
"""Instructions that start per cycle at least, on the cores of the last ten years."""
STORE_CYCLES = 3.0
"""Cycles from an accumulator to memory through a typical epilogue, for one vector."""
TILE_CYCLES = 20.0
"""Cycles to begin and end a register tile: addresses, and the drain of the pipeline."""


def vector_lanes(machine: Machine) -> Iterator[int]:
    """Widths of vectors that may be worth using, in floats: the full one, and its halves."""
    lanes = machine.lanes()
    while lanes >= 4:
        yield lanes
        lanes //= 2


def fma_rate(machine: Machine, lanes: int) -> float:
    """Fused multiply-adds of `lanes` floats started per cycle."""
    return min(float(PIPES), machine.fma_bits / (32 * lanes))


def fits(machine: Machine, vectors: int, width: int) -> bool:
    """Whether a tile of `width` broadcasts by `vectors` vectors stays in registers."""
    return vectors * width + vectors + 1 <= machine.vector_registers


def step_cycles(machine: Machine, lanes: int, vectors: int, width: int) -> float:
    """Cycles of one step of the reduction: `vectors` loads, `width` broadcasts, all their products.

    AVX-512 multiplies by a broadcast from memory in one instruction; elsewhere a broadcast is one of its own, as it is
    where several products share it.
    """
    arithmetic = vectors * width / fma_rate(machine, lanes)
    loads = vectors * max(1.0 / PIPES, 32 * lanes / machine.load_bits) + width / PIPES
    folded = vectors == 1 and machine.has("avx512vl")
    issue = (vectors * width + vectors + (0 if folded else width) + 2) / ISSUE
    return max(arithmetic, loads, issue, float(machine.fma_latency))


def widths(machine: Machine, vectors: int, columns: int) -> list[int]:
    """Tile widths that waste least: for each number of tiles in a row the narrowest one, widest first."""
    found = {-(-columns // tiles) for tiles in range(1, columns + 1) if fits(machine, vectors, -(-columns // tiles))}
    return sorted(found, reverse=True)


def cold_weights(machine: Machine, size: float) -> float:
    """Seconds until `size` bytes of weights are read from memory, where they are when a network comes to a layer."""
    return size / machine.bandwidth(4.0 * machine.l3_bytes + size, machine.cores)
