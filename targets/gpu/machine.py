"""GPUs as data."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.targets.machine import Machine, MultiplyAdd


@dataclass(frozen=True, kw_only=True)
class Gpu(Machine):
    """One kind of GPU. Its `cores` are multiprocessors (compute units); an instruction's rate is one's."""

    arch: str
    """The vendor's name of the instruction set: ``sm_80``, ``gfx942``."""
    warp: int
    """Threads that run in step."""
    max_threads: int
    """In a block."""
    resident_threads: int
    """That a multiprocessor holds at once, at most."""
    resident_blocks: int
    """That a multiprocessor holds at once, at most."""
    shared_bytes: int
    """Memory that a block shares, at most, without asking for more (see `shared_bytes_total`)."""
    shared_bytes_total: int
    """Memory for the blocks that a multiprocessor holds at once."""
    shared_bytes_dynamic: int = 0
    """Memory that a block shares, at most, where its launch asks for it; 0 where none can."""
    shared_bytes_reserved: int = 0
    """Of `shared_bytes_total`, that the system takes for each block."""
    registers: int
    """Of 32 bits, for all threads of a multiprocessor."""
    registers_per_thread: int
    """Of 32 bits, at most."""
    half_arithmetic: bool = True
    memory_bytes: int
    l2_bytes: int
    l2_bandwidth: float
    """What all multiprocessors together read from it."""
    dram_bandwidth: float
    """What all multiprocessors together read from memory."""
    sector_bytes: int = 32
    """What is fetched from memory at least."""
    vector_bytes: int = 16
    """What one thread loads or stores at once, at most."""
    copies_to_shared: bool = False
    """Whether memory is copied to shared memory while threads do other things, without their registers (cp.async)."""

    structured: tuple[MultiplyAdd, ...] = ()
    """Instructions of whose left operand two of each four neighbours in depth are there, as metadata tells; their depth
    is that of all four. They multiply no other matrices, so no peak follows from them."""

    @property
    def most_shared_bytes(self) -> int:
        """Memory that a block shares, at most, asked for or not."""
        return max(self.shared_bytes, self.shared_bytes_dynamic)

    def bandwidth(self, footprint: float, cores: int = 1) -> float:
        shared = self.l2_bandwidth if footprint <= self.l2_bytes else self.dram_bandwidth
        return shared * min(1.0, cores / self.cores)

    def describe(self) -> str:
        rows = " ".join(f"{row.name}-{row.m}x{row.n}x{row.k}" for row in self.instructions)
        return f"{self.name} {self.arch} x{self.cores}: {rows}"
