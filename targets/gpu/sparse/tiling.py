"""The points of the design space of products by sparse weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dsc.lower.exprs import ceildiv
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.fragments import Sums
from dsc.targets.gpu.matrix.results import VECTOR
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS, REGISTERS_PLANNED, Tiling

STAGES = 2
"""Steps in shared memory at once: one is multiplied, the other is on its way."""
OWN_REGISTERS = 40
"""Of a thread, beside sums, weights and inputs: addresses, loops."""


class Registers(Sums, Protocol):
    """What a warp has in registers to multiply by a sparse weight."""

    @property
    def accumulator(self) -> str:
        """The type of the sums' registers."""
        ...

    @property
    def parts(self) -> int:
        """Of a fragment of weights, that are multiplied one after the other; where it is one alone, the next is loaded
        to other registers meanwhile."""
        ...

    @property
    def words(self) -> int:
        """Of a lane, for the weights of a part."""
        ...

    @property
    def known(self) -> int:
        """Lines of inputs that a lane knows, for a part."""
        ...

    @property
    def inputs(self) -> int:
        """Of a lane, for a fragment of inputs."""
        ...


@dataclass(frozen=True)
class SparseTiling(Tiling):
    """Of a tile only the left factor is in shared memory: weights go to registers, by those who multiply them."""

    @property
    def staged_words(self) -> int:
        """Of shared memory, for the left factor."""
        return self.stages * self.rows * self.chunks * CHUNK_WORDS

    @property
    def staged_bytes(self) -> int:
        """Of one step."""
        return self.rows * self.chunks * CHUNK_WORDS * 4

    def groups(self, by: Registers) -> int:
        """Of outputs, of a warp."""
        return self.warp_columns // by.columns

    def has_room(self, by: Registers, machine: Gpu, turned: int) -> bool:
        """Whether warps have whole fragments, threads as much to load as one another, and a block no more than the
        machine gives it. turned: neighbours in depth that a thread loads at once."""
        threads, registers = self.warps * machine.warp, self.thread_registers(by, machine)
        words = self.rows * self.chunks * CHUNK_WORDS
        return (
            self.warp_rows % by.rows == self.warp_columns % by.columns == self.warp_columns % VECTOR == 0
            and words % (threads * max(turned, CHUNK_WORDS)) == 0
            and threads <= machine.max_threads
            and self.shared_bytes(by) <= machine.most_shared_bytes
            and registers <= REGISTERS_PLANNED * machine.registers_per_thread
            and registers * threads <= machine.registers
        )

    def thread_registers(self, by: Registers, machine: Gpu) -> int:
        """Of a thread, about."""
        sums = self.warp_rows // by.rows * self.groups(by) * by.sums
        weights = self.groups(by) * (2 if by.parts == 1 else by.parts) * (by.words + by.known)
        on_their_way = ceildiv(self.rows * self.chunks * CHUNK_WORDS, self.warps * machine.warp)
        return sums + weights + by.inputs + on_their_way + OWN_REGISTERS
