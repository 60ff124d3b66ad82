"""The code of planned launches: a group of threads for each row, or a thread for a few elements side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from tvm import sym, te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, dims
from dsc.targets.cpu.inline import Identity, Leaf, identity
from dsc.targets.gpu.access import limit
from dsc.targets.gpu.elements import Combiner, Elements, limits
from dsc.targets.gpu.generic.bundles import Bundles
from dsc.targets.gpu.generic.places import shared_places
from dsc.targets.gpu.generic.plan import Plan
from dsc.targets.gpu.generic.rows import Reduced, Rows, placed_at
from dsc.targets.gpu.generic.shares import Shares, side_by_side
from dsc.targets.gpu.launch import Group, launch, shared_out
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.neighbours import Neighbours, from_registers
from dsc.targets.tir.loops import Loops, argument, flat, function, when

Places: TypeAlias = "dict[tirx.Var, Expr]"
"""Indices by the variables that stand for them."""


def write(
    inputs: Sequence[te.Tensor],
    scalars: Sequence[tirx.Var],
    outputs: Sequence[te.Tensor],
    plan: Plan,
    shares: Sequence[Shares],
    machine: Gpu,
) -> tirx.PrimFunc:
    """The function that computes `outputs` by the launches of `plan`, each in its shares."""
    with function() as made:
        frame = _Frame(inputs, scalars, outputs, plan, machine)
        if not plan.launches:  # no result has elements
            T.evaluate(0)
        for rows, share in zip(plan.launches, shares, strict=True):
            _Launch(frame, rows, share).write()
    return made.get()


class _Frame:
    """The parameters and intermediate results of the function."""

    def __init__(
        self,
        inputs: Sequence[te.Tensor],
        scalars: Sequence[tirx.Var],
        outputs: Sequence[te.Tensor],
        plan: Plan,
        machine: Gpu,
    ) -> None:
        self.machine, self.loops = machine, Loops.over(inputs) if not scalars else Loops("int64")
        self.memory: dict[Identity, tirx.Buffer] = {}
        """Where tensors can be read."""
        self.written: dict[Identity, list[tirx.Buffer]] = {}
        """Where they are written to."""
        for i, tensor in enumerate(inputs):
            self.memory[identity(tensor)] = argument(f"in{i}", tensor.shape, tensor.dtype)
        for scalar in scalars:
            T.arg(scalar.name, scalar)
        for i, tensor in enumerate(outputs):
            buffer = argument(f"out{i}", tensor.shape, tensor.dtype)
            self.written.setdefault(identity(tensor), []).append(buffer)
        for tensor in plan.stored:
            if identity(tensor) not in self.written:
                self.written[identity(tensor)] = [T.alloc_buffer(tensor.shape, tensor.dtype, scope="global")]
            self.memory[identity(tensor)] = self.written[identity(tensor)][0]
        self.tensors = [*inputs, *plan.stored]

    def leaves(self, readable: Sequence[te.Tensor]) -> dict[te.Tensor, Leaf]:
        """Loads of what is in memory."""

        def leaf(tensor: te.Tensor) -> Leaf:
            return lambda indices: tirx.BufferLoad(self.memory[identity(tensor)], list(indices))

        return {tensor: leaf(tensor) for tensor in readable}


class _Launch:
    """One launch."""

    def __init__(self, frame: _Frame, rows: Rows, shares: Shares) -> None:
        self.frame, self.rows, self.shares = frame, rows, shares
        self.loops, self.machine = frame.loops, frame.machine
        written = [identity(output.tensor) for output in rows.outputs]
        self.leaves = frame.leaves([t for t in frame.tensors if identity(t) not in written])
        axes = set(range(len(rows.axes))) - {*rows.across, *rows.along}
        self.known = sym.Analyzer()
        """The ranges of indices."""
        self._single: Places = {rows.axes[a]: tirx.const(0, str(rows.axes[a].ty)) for a in axes}
        """The indices of axes of one element."""

    def write(self) -> None:
        """The kernel."""
        if not self.rows.reduced:
            self._elementwise()
        elif self.shares.vector > 1:
            self._bundles()
        elif self.shares.group == 1:
            self._thread_for_each_row()
        else:
            self._group_for_each_row()

    def _elementwise(self) -> None:
        """A thread for each few elements."""
        vector, threads = self.shares.vector, self.shares.threads
        pieces = _part(self.rows.length, vector)
        with launch(ceildiv(pieces, threads), threads, self.loops) as (block, thread):
            piece = T.Bind(block * threads + thread)
            with when(None if _divides(threads, pieces) else piece < self.loops.const(pieces)):
                if vector > 1:
                    Vectors(self, piece).write()
                    return
                at = self.along(piece)
                elements = Elements(self.leaves, self.known)
                self._store(elements, at, walked=True)
                self._store(elements, at, walked=False)

    def _bundles(self) -> None:
        """A thread, or a group, for neighbouring rows."""
        shares, memory = self.shares, {tensor: self.frame.memory[identity(tensor)] for tensor in self.leaves}

        def group(thread: Expr) -> Group:
            return Group(self.machine, shares.group, thread, self.loops, shares.apart)

        sharing = None if shares.group == 1 else group
        bundles = Bundles(self.rows, sharing, shares.vector, memory, self.frame.written, self.loops)
        bundles.write(shares.threads, shares.group)

    def _thread_for_each_row(self) -> None:
        """Reductions are loops of one thread."""
        count, threads = self.rows.count, self.shares.threads
        with launch(ceildiv(count, threads), threads, self.loops) as (block, thread):
            row = T.Bind(block * threads + thread)
            with when(None if _divides(threads, count) else row < self.loops.const(count)):
                at = self._across(row)
                elements = Elements(self._with_reduced(at, None), self.known)
                self._store(elements, at, walked=False)
                if self.rows.along:
                    with self.loops.each(self.rows.length) as place, elements.scope():
                        self._store(elements, at | self.along(place), walked=True)

    def _group_for_each_row(self) -> None:
        """Threads reduce a row together, and share its elements."""
        count, group = self.rows.count, self.shares.group
        each = self.shares.threads // group
        with launch(ceildiv(count, each), self.shares.threads, self.loops) as (block, thread):
            together = Group(self.machine, group, thread, self.loops, self.shares.apart)
            row = T.Bind(block * each + together.row)
            inside = None if _divides(each, count) else row < self.loops.const(count)
            if inside is not None:  # all threads take part in exchanges: those beyond compute the last row again
                row = T.Bind(tirx.max(tirx.min(row, self.loops.const(count) - 1), self.loops.const(0)))
            at = self._across(row)
            elements = Elements(self._with_reduced(at, together), self.known)
            with when(inside), elements.scope():
                with when(together.is_first), elements.scope():
                    self._store(elements, at, walked=False)
                if self.rows.along:
                    with shared_out(self.rows.length, group, together.lane, self.loops) as place, elements.scope():
                        self._store(elements, at | self.along(place), walked=True)

    # --- reductions

    def _with_reduced(self, at: Places, group: Group | None) -> dict[te.Tensor, Leaf]:
        """The leaves, with the reductions of a row in registers: by this thread, or by its group."""
        leaves = dict(self.leaves)
        for found in self.rows.reduced:
            if group is None:
                total = T.alloc_buffer((1,), found.tensor.dtype, scope="local")
                T.buffer_store(total, Elements(leaves, self.known).at(found.tensor, placed_at(found.at, at)), [0])
            else:
                total = self._together(found, leaves, at, group)
            leaves[found.tensor] = _register(total)
        return leaves

    def _together(self, found: Reduced, leaves: dict[te.Tensor, Leaf], at: Places, group: Group) -> tirx.Buffer:
        """A reduction by all threads of the group, each of which takes its share of the elements."""
        stage, indices = found.tensor.op, placed_at(found.at, at)
        combine = Combiner(stage)
        total: tirx.Buffer = T.alloc_buffer((1,), combine.dtype, scope="local")
        T.buffer_store(total, combine.start, [0])
        sizes = dims(axis.dom.extent for axis in stage.reduce_axis)
        count = self.rows.count
        some = None if isinstance(count, int) else count > self.loops.const(0)  # where there is no row, none is read
        with when(some), shared_places(sizes, group, self.loops) as places:
            starts = [axis.dom.min for axis in stage.reduce_axis]
            walked = [start + i for start, i in zip(starts, places, strict=True)]
            limits(self.known, stage.reduce_axis, walked)
            with when(combine.condition(indices, walked)):
                combine.into(total, Elements(leaves, self.known).source(stage, indices, walked))
        group.reduce(total, combine)
        return total

    # --- places

    def _across(self, row: Expr) -> Places:
        """The indices that a row has."""
        return self._unraveled(row, self.rows.across)

    def along(self, place: Expr) -> Places:
        """The indices that an element of a row has."""
        return self._unraveled(place, self.rows.along)

    def _unraveled(self, position: Expr, axes: Sequence[int]) -> Places:
        return self.at(axes, self.loops.unravel(position, [self.rows.shape[a] for a in axes]))

    def at(self, axes: Sequence[int], indices: Sequence[Expr]) -> Places:
        """Indices along some axes, which the others have one element of."""
        for axis, index in zip(axes, indices, strict=True):
            limit(self.known, index, 0, self.rows.shape[axis])
        return {**self._single, **{self.rows.axes[a]: index for a, index in zip(axes, indices, strict=True)}}

    def _store(self, elements: Elements, at: Places, *, walked: bool) -> None:
        """The elements of the results at one place; of those that have one for a row, or for each element of it."""
        for output in self.rows.outputs:
            if output.walked == walked:
                indices = placed_at(output.at, at)
                value = elements.at(output.tensor, indices)
                for buffer in self.frame.written[identity(output.tensor)]:
                    T.buffer_store(buffer, value, indices)


class Vectors:
    """Elements side by side, of one thread, of results that are all of one shape: what lies in memory as they do is
    loaded and stored at once."""

    def __init__(self, launch: _Launch, piece: Expr) -> None:
        """`piece`: which of the vectors of the results."""
        self.launch, self.count = launch, launch.shares.vector
        rows, loops = launch.rows, launch.loops
        *_, last = rows.along
        *outer, inner = loops.unravel(piece, [_part(rows.shape[a], self.count if a == last else 1) for a in rows.along])
        limit(launch.known, inner, 0, _part(rows.shape[last], self.count))
        self._at = launch.at(rows.along, [*outer, inner * self.count])
        self._position = T.Bind(piece * self.count)
        self._last = rows.axes[last]

    def write(self) -> None:
        """Loads, computes, stores."""
        rows, frame, loops = self.launch.rows, self.launch.frame, self.launch.loops
        first = self._place(0)
        memory = {tensor: frame.memory[identity(tensor)] for tensor in self.launch.leaves}
        found = [
            Neighbours.load(read, self.count, memory[read.tensor], first, loops)
            for read in side_by_side(rows, list(memory), self.count)
        ]
        results = [T.alloc_buffer((self.count,), output.tensor.dtype, scope="local") for output in rows.outputs]
        for lane in range(self.count):
            place = self._place(lane)
            elements = Elements(from_registers(found, memory, place, lane, self.launch.known), self.launch.known)
            for output, result in zip(rows.outputs, results, strict=True):
                T.buffer_store(result, elements.at(output.tensor, place), [lane])
        span = loops.span(self._position, self.count)
        for output, result in zip(rows.outputs, results, strict=True):
            for buffer in frame.written[identity(output.tensor)]:
                T.buffer_store(flat(buffer), result[Loops().span(0, self.count)], [span])

    def _place(self, lane: int) -> list[Expr]:
        """The indices of one of the elements: the vectors lie within the last axis that has more than one element."""
        at = self._at | {self._last: self._at[self._last] + lane}
        return [at[axis] for axis in self.launch.rows.axes]


def _register(total: tirx.Buffer) -> Leaf:
    return lambda _: total[0]


def _part(length: Dim, vector: int) -> Dim:
    """How many vectors make up a length that they divide."""
    return length // vector if isinstance(length, int) else tirx.floordiv(length, vector)


def _divides(part: int, whole: Dim) -> bool:
    return isinstance(whole, int) and whole > 0 and whole % part == 0
