"""A machine described as data: what a kernel may use, and the numbers with which its time is estimated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

SIGNS = (("int8", "int8"), ("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8"))
"""The types that two factors of bytes have."""


@dataclass(frozen=True, kw_only=True)
class MultiplyAdd:
    """An instruction ``d[m, n] += sum over k of a[m, k] * b[k, n]``, as it is started once.

    A vector instruction has ``m = 1``: its `a` is one element (or `k` neighbours) in every lane.
    """

    name: str
    """The mnemonic, as the assembler knows it."""
    a: str
    """Element type of the first operand, as TVM names it."""
    b: str
    accumulator: str
    m: int = 1
    n: int
    k: int = 1
    rate: float
    """Instructions that one core starts per cycle."""
    latency: int
    """Cycles until the sum can go into the next."""
    intrinsic: str | None = None
    """LLVM's or PTX's name for it; None where plain arithmetic on vectors becomes this instruction."""
    accumulates: bool = True
    """Whether it takes the sum so far; else its result has a register of its own until that is added."""
    requires: tuple[str, ...] = ()
    """Features without which a machine with these vectors has no such instruction."""
    source: str
    """Where the numbers are from."""

    @property
    def operations(self) -> int:
        """Of one instruction; a multiplication and an addition are two."""
        return 2 * self.m * self.n * self.k

    @property
    def operands(self) -> tuple[str, str, str]:
        """Types of `a`, `b` and the sum."""
        return self.a, self.b, self.accumulator


@dataclass(frozen=True, kw_only=True)
class Machine(ABC):
    """Facts about one kind of processor. Kernels read these and never ask which product it is.

    Sizes are bytes, rates are per core and in SI units (bytes/s, Hz) unless the name says otherwise.
    """

    name: str
    """What reports call it: ``x86:znver4``. Nothing is looked up by it."""
    frequency: float
    """Hz under sustained vector load."""
    cores: int
    """Physical cores, or what else takes a task of its own (a GPU's multiprocessor)."""
    launch_seconds: float
    """Cost of sharing one loop between the cores; on a GPU, from one short kernel to the next."""
    graph_launch_seconds: float | None = None
    """The same where all kernels of a run are launched at once, as a graph; None: they cannot be."""
    instructions: tuple[MultiplyAdd, ...]
    """What multiplies and adds. Where several have the same operands, the widest comes first."""
    source: str
    """Where the numbers are from."""
    half_arithmetic: bool = False
    """Whether kernels take float16 and bfloat16 as well as float32. Else models of these are computed in float32."""
    memory_bytes: int | None = None
    """For weights, inputs and all that is in between; None where the operating system shares it out."""

    def in_graphs(self) -> Self:
        """The machine as it is for runs that are graphs: kernels and reports read one figure of launches."""
        if self.graph_launch_seconds is None:
            return self
        return replace(self, launch_seconds=self.graph_launch_seconds)

    @abstractmethod
    def bandwidth(self, footprint: float, cores: int = 1) -> float:
        """Bytes/s that so many cores together stream when they walk over `footprint` bytes in all."""

    @abstractmethod
    def describe(self) -> str:
        """All that the time of a kernel depends on, in one line: measurements of another do not hold."""

    def multiply_adds(self, a: str, b: str, accumulator: str) -> tuple[MultiplyAdd, ...]:
        """The instructions for operands of these types, widest first; none where the machine has none."""
        return tuple(i for i in self.instructions if i.operands == (a, b, accumulator))

    @property
    def multiplies_unsigned(self) -> bool:
        """Whether bytes on the left are multiplied as unsigned ones only: signed ones have to be turned first."""
        signs = {i.a for i in self.instructions if i.b == "int8" and i.a in ("int8", "uint8")}
        return signs == {"uint8"}

    def peak(self, element: str = "float32") -> float:
        """Operations per second of one core, at most, in products of elements of this type."""
        return max(i.operations * i.rate for i in self.instructions if i.a == element) * self.frequency
