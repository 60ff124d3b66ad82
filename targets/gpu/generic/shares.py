"""How threads may share the rows of a launch, and the elements of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.nominal import nominal
from dsc.targets.cpu.inline import Leaf, identity
from dsc.targets.gpu.access import VECTOR_TYPES
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.generic.rows import Rows
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.neighbours import Read, distinct
from dsc.targets.tir.loops import function

THREADS = 128
"""In a block, where no group asks for more."""
GROUPS = (8, 32, 128, 512)
VECTORS = (4, 2)


@dataclass(frozen=True)
class Shares:
    """A point of the design space of one launch."""

    group: int
    """Threads that compute a row together: 1, or a power of two; more than a warp are a block."""
    threads: int
    """In a block."""
    vector: int = 1
    """Elements side by side that one thread computes, where rows have no reductions."""


def candidates(rows: Rows, memory: Sequence[te.Tensor], machine: Gpu) -> Iterator[Shares]:
    """The shares worth considering."""
    yield Shares(1, THREADS)
    if not rows.reduced:
        yield from (Shares(1, THREADS, vector) for vector in VECTORS if _fits(rows, memory, vector))
        return
    longest = max(nominal(length) for length in _lengths(rows))
    for group in GROUPS:
        if group < 2 * longest and group <= machine.max_threads:
            yield Shares(group, max(group, THREADS))


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


def reads(rows: Rows, memory: Sequence[te.Tensor]) -> list[Read]:
    """What results without reductions read of memory."""
    axes = [Axis(var, size) for var, size in zip(rows.axes, rows.shape, strict=True)]
    found: list[Read] = []

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            found.append(Read.of(source, indices, axes))
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    written = [identity(output.tensor) for output in rows.outputs]
    with function():
        elements = Elements({source: reading(source) for source in memory if identity(source) not in written})
        for output in rows.outputs:
            elements.at(output.tensor, output.at)
    return distinct(found)
