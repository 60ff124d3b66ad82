"""Bundles: neighbouring rows that are reduced by one thread, or by one group of threads. Where they read neighbours in
memory, as the channels of packed images are, one load gives what all of them want."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, dims, same
from dsc.lower.tensors import ravel
from dsc.targets.cpu.inline import Identity, Leaf, identity
from dsc.targets.gpu.access import VECTOR_TYPES, limit, uses
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Combiner, Elements, limits, nest
from dsc.targets.gpu.generic.places import shared_places
from dsc.targets.gpu.generic.reads import Walk, walks, walks_of_output
from dsc.targets.gpu.generic.rows import Read, Reduced, Rows, placed_at
from dsc.targets.gpu.launch import Group, launch
from dsc.targets.gpu.neighbours import placed
from dsc.targets.tir.loops import Loops, flat, when

Places: TypeAlias = "dict[tirx.Var, Expr]"
"""Indices by the variables that stand for them."""


def fits(rows: Rows, memory: Sequence[te.Tensor], count: int) -> bool:
    """Whether `count` neighbouring rows always read, at a place of a reduction and for their results, the same or
    neighbours in memory, under conditions that are the same for all of them, and store neighbours."""
    if not rows.reduced or rows.along or not rows.across or not isinstance(rows.count, int):
        return False
    size = rows.shape[rows.across[-1]]
    if not isinstance(size, int) or size % count:
        return False
    read = [walk for found in rows.reduced for walk in walks(rows, found, memory)]
    read += [walk for output in rows.outputs for walk in walks_of_output(rows, output, memory)]
    return (
        all(_is_put_together_alike(found, rows.axes[rows.across[-1]]) for found in rows.reduced)
        and all(_neighbours(rows, output.tensor, output.at, (), count) == count for output in rows.outputs)
        and all(_is_read_at_once(rows, walk, count) for walk in read)
    )


def _is_put_together_alike(found: Reduced, axis: tirx.Var) -> bool:
    """Whether which elements count is the same for all rows."""
    stage = found.tensor.op
    condition = Combiner(stage).condition(found.at, [each.var for each in stage.reduce_axis])
    return condition is None or not uses(condition, axis)


def _is_read_at_once(rows: Rows, walk: Walk, count: int) -> bool:
    if any(uses(condition, rows.axes[rows.across[-1]]) for condition in walk.conditions):
        return False
    return _neighbours(rows, walk.source, walk.indices, walk.axes, count) in (0, count)


def _neighbours(
    rows: Rows, tensor: te.Tensor, indices: Sequence[Expr], reduced: Sequence[tirx.IterVar], count: int
) -> int | None:
    """`count` where neighbouring rows have so many elements side by side, aligned; 0 where they have the same one."""
    axes = [Axis(var, size) for var, size in zip(rows.axes, rows.shape, strict=True)]
    axes += [Axis(axis.var, *dims([axis.dom.extent])) for axis in reduced]
    access = placed(tensor, dims(tensor.shape), indices, axes)
    if access is None or not all(same(axis.dom.min, 0) for axis in reduced):
        return None
    if same(access.steps[rows.across[-1]], 0):
        return 0
    is_whole = str(tensor.dtype) in VECTOR_TYPES and tvm_ffi.dtype(str(tensor.dtype)).bits * count <= 128
    return count if is_whole and access.vector([rows.across[-1]], count) == count else None


class Loads:
    """What a bundle reads at one place: loaded when the code of its first row asks for it, in registers for the others,
    whose code asks for the same in the same order."""

    def __init__(self, read: Sequence[Walk], count: int, memory: Mapping[te.Tensor, tirx.Buffer], loops: Loops) -> None:
        """Allocates the registers in the current frame. memory: as it is, to be read."""
        self._read, self._count, self._loops, self._memory = read, count, loops, memory
        self._registers = [
            T.alloc_buffer((1 if walk.across == 0 else count,), walk.source.dtype, scope="local") for walk in read
        ]

    def leaves(self, row: int) -> dict[te.Tensor, Leaf]:
        """For the code of a row of the bundle."""
        turn = iter(range(len(self._read)))
        return {tensor: self._leaf(tensor, row, turn) for tensor in self._memory}

    def _leaf(self, tensor: te.Tensor, row: int, turn: Iterator[int]) -> Leaf:
        def load(indices: Sequence[Expr]) -> Expr:
            which = next(turn)
            register, is_same = self._registers[which], self._read[which].across == 0
            if row == 0:
                count = 1 if is_same else self._count
                first = T.Bind(ravel(indices, dims(tensor.shape)))
                value = flat(self._memory[tensor])[self._loops.span(first, count)]
                T.buffer_store(register, value, [Loops().span(0, count)])
            return register[0 if is_same else row]

        return load


class Bundles:
    """The code of a launch."""

    def __init__(
        self,
        rows: Rows,
        group: Callable[[Expr], Group] | None,
        count: int,
        memory: Mapping[te.Tensor, tirx.Buffer],
        written: Mapping[Identity, Sequence[tirx.Buffer]],
        loops: Loops,
    ) -> None:
        """group: the threads that share a bundle, by the index of one of them in its block; None where there is one.

        memory: where tensors can be read. written: where results go.
        """
        self.rows, self.group, self.count, self.memory, self.written = rows, group, count, memory, written
        self.loops, self.known = loops, sym.Analyzer()

    def write(self, threads: int, sharing: int) -> None:
        """The kernel, in blocks of so many threads; `sharing`: those that share a bundle."""
        loops, total, each = self.loops, _whole(self.rows.count) // self.count, threads // sharing
        with launch(ceildiv(total, each), threads, loops) as (block, thread):
            together = None if self.group is None else self.group(thread)
            bundle = T.Bind(block * each + (thread if together is None else together.row))
            inside = None if total % each == 0 else bundle < loops.const(total)
            if together is None:
                with when(inside):
                    self._results(*self._reductions(bundle, None))
                return
            if inside is not None:  # all threads take part in exchanges: those beyond compute the last bundle again
                bundle = T.Bind(tirx.min(bundle, loops.const(total - 1)))
            found = self._reductions(bundle, together)
            with when(inside), when(together.is_first):
                self._results(*found)

    def _reductions(self, bundle: Expr, together: Group | None) -> tuple[Places, dict[te.Tensor, tirx.Buffer]]:
        """The indices of the first row of a bundle, and all reductions of its rows, in registers."""
        first = self._first(bundle)
        totals: dict[te.Tensor, tirx.Buffer] = {}
        for found in self.rows.reduced:
            totals[found.tensor] = self._reduced(found, first, totals, together)
        return first, totals

    def _reduced(
        self,
        found: Reduced,
        first: Places,
        totals: Mapping[te.Tensor, tirx.Buffer],
        together: Group | None,
    ) -> tirx.Buffer:
        stage, combine = found.tensor.op, Combiner(found.tensor.op)
        total: tirx.Buffer = T.alloc_buffer((self.count,), combine.dtype, scope="local")
        for row in range(self.count):
            T.buffer_store(total, combine.start, [row])
        read = walks(self.rows, found, list(self.memory))
        with self._places(stage, together) as walked:
            limits(self.known, stage.reduce_axis, walked)
            with when(combine.condition(self._row(found.at, first, 0), walked)):
                loads = Loads(read, self.count, self.memory, self.loops)
                for row in range(self.count):
                    elements = Elements({**loads.leaves(row), **_registers(totals, row)}, self.known)
                    combine.into(total, elements.source(stage, self._row(found.at, first, row), walked), row)
        if together is not None:
            together.reduce(total, combine)
        return total

    @contextmanager
    def _places(self, stage: te.ComputeOp, together: Group | None) -> Iterator[list[Expr]]:
        """A loop over the places of a reduction that are a thread's."""
        walked: list[Expr] = []
        if together is None:
            with nest(stage.reduce_axis, walked):
                yield walked
            return
        sizes = dims(axis.dom.extent for axis in stage.reduce_axis)
        with shared_places(sizes, together, self.loops) as places:
            yield places

    def _results(self, first: Places, totals: Mapping[te.Tensor, tirx.Buffer]) -> None:
        for output in self.rows.outputs:
            result = T.alloc_buffer((self.count,), output.tensor.dtype, scope="local")
            loads = Loads(walks_of_output(self.rows, output, list(self.memory)), self.count, self.memory, self.loops)
            for row in range(self.count):
                elements = Elements({**loads.leaves(row), **_registers(totals, row)}, self.known)
                T.buffer_store(result, elements.at(output.tensor, self._row(output.at, first, row)), [row])
            place = T.Bind(ravel(self._row(output.at, first, 0), dims(output.tensor.shape)))
            for buffer in self.written[identity(output.tensor)]:
                value = result[Loops().span(0, self.count)]
                T.buffer_store(flat(buffer), value, [self.loops.span(place, self.count)])

    # --- places

    def _first(self, bundle: Expr) -> Places:
        """The indices of the first row of a bundle; 0 along axes of one element."""
        rows = self.rows
        sizes = [_whole(rows.shape[axis]) for axis in rows.across]
        sizes[-1] //= self.count
        found = self.loops.unravel(bundle, sizes)
        for index, size in zip(found, sizes, strict=True):
            limit(self.known, index, 0, size)
        found[-1] = found[-1] * self.count
        at = {var: tirx.const(0, str(var.ty)) for var in rows.axes}
        return at | {rows.axes[axis]: index for axis, index in zip(rows.across, found, strict=True)}

    def _row(self, read: Read, first: Places, row: int) -> list[Expr]:
        """Indices of what a row of a bundle reads."""
        last = self.rows.axes[self.rows.across[-1]]
        return placed_at(read, {**first, last: first[last] + row})


def _whole(size: object) -> int:
    assert isinstance(size, int)  # see `fits`
    return size


def _registers(totals: Mapping[te.Tensor, tirx.Buffer], row: int) -> dict[te.Tensor, Leaf]:
    """The reductions of one row."""

    def leaf(total: tirx.Buffer) -> Leaf:
        return lambda _: total[row]

    return {tensor: leaf(total) for tensor, total in totals.items()}
