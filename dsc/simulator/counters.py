"""What a kernel did in all its launches, counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Submissions:
    """What programs gave the device to do."""

    kernels: int
    """Launched one by one."""
    graphs: int
    """Launched, each with all the kernels that were captured in it."""


@dataclass(frozen=True)
class Counters:
    """Of one kernel. Instructions are of warps, unless it says otherwise.

    What concerns memory is counted for kernels that were compiled with checks. Arithmetic is not counted.
    """

    launches: int
    blocks: int
    threads: int
    global_loads: int
    global_stores: int
    global_bytes: int
    """That were asked for, each once in an instruction."""
    global_sectors: int
    """Of `Limits.sector_bytes`, that a device moves for them."""
    global_sectors_ideal: int
    """If what an instruction asks for lay side by side."""
    shared_loads: int
    shared_stores: int
    shared_wavefronts: int
    """Passes through the 32 banks."""
    shared_wavefronts_ideal: int
    """Without conflicts."""
    async_copies: int
    """cp.async, of threads."""
    atomics: int
    """Of threads."""
    barriers: int
    warp_collectives: int
    """Shuffles, votes, matches, reductions, barriers of warps, and the instructions of matrices."""
    matrix_loads: int
    """ldmatrix, stmatrix, and loads and stores of wmma."""
    matrix_multiplies: int
    matrix_macs: int
    """Multiply-adds on tensor cores and matrix cores."""
    shared_bytes: int
    """Of a block: the most of any launch."""

    @property
    def coalescing(self) -> float:
        """Share of the sectors moved that an ideal layout would have moved; 1 where nothing was."""
        return self.global_sectors_ideal / self.global_sectors if self.global_sectors else 1.0

    @property
    def bank_conflicts(self) -> int:
        """Passes through the banks that conflicts cost."""
        return self.shared_wavefronts - self.shared_wavefronts_ideal
