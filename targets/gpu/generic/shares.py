"""How threads may share the rows of a launch, and the elements of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import te

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.nominal import nominal
from dsc.targets.gpu.access import VECTOR_TYPES
from dsc.targets.gpu.generic.rows import Rows
from dsc.targets.gpu.machine import Gpu

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
    """Whether all results, and what is shaped as they are, lie in vectors of so many elements."""
    if not rows.along or not all(output.walked for output in rows.outputs):
        return False
    *_, last = rows.along
    size = rows.shape[last]
    alike = [tensor for tensor in memory if is_alike(tensor, rows)]
    types = {str(tensor.dtype) for tensor in (*alike, *(output.tensor for output in rows.outputs))}
    whole = isinstance(size, int) and size % vector == 0 and all(same(d, 1) for d in rows.shape[last + 1 :])
    return whole and all(t in VECTOR_TYPES and tvm_ffi.dtype(t).bits * vector <= 128 for t in types)


def is_alike(tensor: te.Tensor, rows: Rows) -> bool:
    """Whether a tensor is of the shape of the results."""
    sizes = dims(tensor.shape)
    return len(sizes) == len(rows.shape) and all(map(same, sizes, rows.shape))
