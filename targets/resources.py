"""What a kernel's code takes of a core, as the compiler that made it says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelResources:
    """Of one launch, on devices whose cores share registers and memory out among the blocks that they hold."""

    kernel: str
    """Name of the device's function."""
    threads: int
    """Of a block."""
    registers: int
    """Of a thread, of 32 bits."""
    spilled_bytes: int
    """Of a thread, stored and loaded again because there are too few registers; 0 where all fit."""
    stack_bytes: int
    """Memory of each thread: spills, and arrays that are no registers."""
    shared_bytes: int
    """Of a block."""
    resident_blocks: int
    """That a core holds at once, as far as threads, registers and shared memory allow."""
    occupancy: float
    """Threads of these blocks, as a share of the most that a core holds."""
    matrix_instructions: int | None = None
    """Those of matrix units (MFMA, WMMA) in the machine code, each once however often it runs; None where what makes
    the code does not tell (`make resources` counts NVIDIA's)."""
