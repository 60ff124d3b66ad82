"""What can go wrong in a simulation."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.errors import UnsupportedModelError, VerificationError


class UnknownInstructionError(UnsupportedModelError):
    """A kernel uses something of CUDA, PTX or LLVM's code that the simulator has no meaning for."""


@dataclass(frozen=True)
class Fault:
    """A rule of its GPU that a kernel broke, which ended its launch."""

    kernel: str
    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    what: str
    """As what the thread did: ``reads 4 bytes of global memory out of bounds, at address 0x...``."""
    line: str = ""
    """Of the kernel's source, CUDA's or LLVM's, with its number, where it is known."""

    def __str__(self) -> str:
        place = f"kernel {self.kernel}, block {self.block}, thread {self.thread}: {self.what}"
        return f"{place}\n  {self.line}" if self.line else place


class KernelError(VerificationError):
    """A simulated kernel broke a rule of its GPU."""

    def __init__(self, fault: Fault) -> None:
        """`fault`: which."""
        super().__init__(str(fault))
        self.fault = fault
