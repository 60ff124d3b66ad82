"""How the threads of a block may share rows, and what each of them loads at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import tvm_ffi

from dsc.lower.exprs import ceildiv
from dsc.lower.nominal import nominal
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.rows.program import Program

THREADS = (128, 64)
"""In a block, where no group asks for more: the fewer, the more evenly few rows are shared out; the more, the more of
them share what all rows read alike."""
MOST_KEPT = 32
"""Elements of a row that a thread may have in registers from its first reduction to the results."""
AT_ONCE = 8
"""Elements that a thread has of a longer row: those that it asks for before it waits."""


@dataclass(frozen=True)
class Sharing:
    """A point of the design space.

    A thread has vectors: of neighbours in a row, or of what neighbouring rows have at one place. Neighbouring threads
    have neighbouring vectors of the same rows, or those between them are `apart` from one another and have others.
    """

    group: int
    """Threads that share a row, a power of two."""
    threads: int
    """In a block; groups with more than a warp are one, with those between their threads."""
    vector: int
    """Elements."""
    by_row: bool
    """Whether the vectors are of neighbouring rows."""
    apart: int
    """From a thread of a group to the next one."""
    vectors: int
    """That a thread has in registers at once. Where that is all of its part of a row, it is loaded once, else for each
    reduction and for the results again."""

    @property
    def rows(self) -> int:
        """That a thread has a part of."""
        return self.vector if self.by_row else 1

    @property
    def places(self) -> int:
        """Neighbours in a row that a thread has at once."""
        return 1 if self.by_row else self.vector

    @property
    def groups(self) -> int:
        """In a block."""
        return self.threads // self.group

    def steps(self, length: int) -> int:
        """Vectors of a thread, in a row of that length."""
        return ceildiv(length, self.group * self.places)

    def keeps(self, length: int) -> bool:
        """Whether a thread has all its elements of a row of that length at once."""
        return self.vectors >= self.steps(length)


def vector_of(access: Access, axes: range, most: int, machine: Gpu) -> int:
    """Elements, of at most so many neighbours along some axes, that one load gives or one store takes."""
    bits = tvm_ffi.dtype(str(access.memory.dtype)).bits
    return access.vector(axes, min(most, 8 * machine.vector_bytes // bits))


def candidates(program: Program, machine: Gpu) -> Iterator[Sharing]:
    """The sharings worth considering."""
    seen = [access for access in (*_reduced(program), *program.stored) if access is not None]
    if any(access.run(program.place_axes) > 1 for access in seen):
        widths = _widths(seen, program.place_axes, machine)
        yield from _shared(program, machine, [(width, False, 1) for width in widths])
    if any(access.run(program.row_axes) > 1 for access in seen):
        widths = _widths(seen, program.row_axes, machine)
        ways = [(width, True, apart) for width in widths for apart in _powers(machine.warp)]
        yield from _shared(program, machine, ways)
    elif all(access.run(program.place_axes) == 1 for access in seen):
        yield from _shared(program, machine, [(1, False, 1)])


def _shared(program: Program, machine: Gpu, ways: list[tuple[int, bool, int]]) -> Iterator[Sharing]:
    """Vectors, whether of rows, and how far apart threads are: with groups of all sizes that have something to do."""
    rows = nominal(program.count)
    for width, by_row, apart in ways:
        places = 1 if by_row else width
        if apart > 1 and apart * width >= 2 * rows:
            continue
        for group in _powers(machine.max_threads // apart):
            if group > 1 and group * places >= 2 * program.length:
                break
            together = group * apart
            steps = ceildiv(program.length, group * places)
            vectors = steps if steps * width <= MOST_KEPT else max(1, AT_ONCE // width)
            for threads in (together,) if together > machine.warp else THREADS:
                yield Sharing(group, threads, width, by_row, apart, vectors)


def _reduced(program: Program) -> list[Access | None]:
    return [read.access for read in program.reduced_reads]


def _widths(seen: list[Access], axes: range, machine: Gpu) -> list[int]:
    """Of vectors, the widest first: those that some memory has, and single elements."""
    most = max(vector_of(access, axes, machine.vector_bytes, machine) for access in seen)
    return list(reversed(_powers(most)))


def _powers(most: int) -> list[int]:
    """Of two."""
    return [1 << exponent for exponent in range(int(math.log2(most)) + 1)]
