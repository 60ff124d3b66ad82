"""How threads may share the rows of a launch, and the elements of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import te

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.nominal import nominal
from dsc.targets.gpu.access import VECTOR_TYPES
from dsc.targets.gpu.generic.bundles import fits
from dsc.targets.gpu.generic.reads import reads, walks
from dsc.targets.gpu.generic.rows import Rows
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.neighbours import Read

THREADS = 128
"""In a block, where no group asks for more."""
GROUPS = (4, 8, 32, 128, 512)
APART = (8, 16, 32)
"""Rows whose elements fill a piece of memory, what lies together in packed images, and rows of pixels."""
VECTORS = (4, 2)
BUNDLES = (8, 4, 2)
SHARING = (4, 8)
"""Threads for a bundle of rows, where one thread is not enough: reductions that are longer have few rows."""


@dataclass(frozen=True)
class Shares:
    """A point of the design space of one launch."""

    group: int
    """Threads that compute a row together: 1, or a power of two; more than a warp are a block."""
    threads: int
    """In a block."""
    vector: int = 1
    """Elements side by side that one thread computes, where rows have no reductions; else neighbouring rows that its
    group computes (see `bundles`)."""
    apart: int = 1
    """Of the threads of a group, one is so many from the next: those between compute the neighbouring rows."""


def candidates(rows: Rows, memory: Sequence[te.Tensor], machine: Gpu) -> Iterator[Shares]:
    """The shares worth considering."""
    if rows.reduced:  # between equal estimates those with fewer instructions
        yield from _bundled(rows, memory, machine)
    else:
        yield from (Shares(1, THREADS, vector) for vector in VECTORS if _fits(rows, memory, vector))
    yield Shares(1, THREADS)
    if not rows.reduced:
        return
    longest = max(nominal(length) for length in _lengths(rows))
    for apart in _ways(rows, memory):
        for group in GROUPS:
            together = group * apart
            if group < 2 * longest and together <= machine.max_threads:
                yield Shares(group, together if together > machine.warp else THREADS, apart=apart)


def _bundled(rows: Rows, memory: Sequence[te.Tensor], machine: Gpu) -> Iterator[Shares]:
    """A thread for each bundle of neighbouring rows, or a few threads whose neighbours have the next bundles."""
    for count in (count for count in BUNDLES if fits(rows, memory, count)):
        yield Shares(1, THREADS, count)
        for apart in dict.fromkeys(max(1, between // count) for between in APART):
            for group in SHARING:
                together = group * apart
                if apart * count <= nominal(rows.count) and together <= machine.max_threads:
                    yield Shares(group, together if together > machine.warp else THREADS, count, apart)


def _ways(rows: Rows, memory: Sequence[te.Tensor]) -> Sequence[int]:
    """How far apart threads of a group may be: neighbours, where these read neighbours of a row; others, where
    neighbouring rows are neighbours in memory instead, and there are enough of them."""
    if nominal(rows.count) < min(APART):
        return (1,)
    found = [each for reduced in rows.reduced for each in walks(rows, reduced, memory)]
    if any(each.across == 1 for each in found):
        return (1, *APART) if any(each.in_row in (1, -1) for each in found) else APART
    return (1,) if any(each.in_row in (1, -1) for each in found) else (1, *APART)


def _lengths(rows: Rows) -> list[Dim]:
    """Of what a group shares: the row, and each reduction."""
    sizes = [[axis.dom.extent for axis in found.tensor.op.reduce_axis] for found in rows.reduced]
    return [rows.length, *(product(dims(each)) for each in sizes)]


def _fits(rows: Rows, memory: Sequence[te.Tensor], vector: int) -> bool:
    """Whether all results, and what they read that differs from one element to the next, lie in vectors of so many
    elements."""
    if not rows.along or not all(output.walked for output in rows.outputs):
        return False
    *_, last = rows.along
    size = rows.shape[last]
    types = [str(output.tensor.dtype) for output in rows.outputs]
    whole = isinstance(size, int) and size % vector == 0 and all(same(d, 1) for d in rows.shape[last + 1 :])
    if not whole or not all(t in VECTOR_TYPES and tvm_ffi.dtype(t).bits * vector <= 128 for t in types):
        return False
    return all(_is_side_by_side(read, last, vector) or _is_same(read, last) for read in reads(rows, memory))


def side_by_side(rows: Rows, memory: Sequence[te.Tensor], vector: int) -> list[Read]:
    """What results without reductions read of memory that `vector` neighbours of their elements find side by side."""
    return [read for read in reads(rows, memory) if _is_side_by_side(read, rows.along[-1], vector)]


def _is_side_by_side(read: Read, axis: int, vector: int) -> bool:
    access = read.access
    return access is not None and access.vector([axis], vector) == vector and access.is_within()


def _is_same(read: Read, axis: int) -> bool:
    """Whether an input is read at one place for all elements along an axis."""
    return read.access is not None and same(read.access.steps[axis], 0)
