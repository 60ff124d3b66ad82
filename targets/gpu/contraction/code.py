"""The code of a contraction: a block of threads computes a tile of the result, a step of its depth after the other.

While threads multiply what is in shared memory, they load what the next step needs into registers; they write that to
the other half of shared memory, and meet. Of a step, a thread reads vectors of the left operand's column and of the
right operand's row, and adds all their products to its sums. Rows and columns beyond the edge are the last ones again,
and are not stored; what is beyond the depth is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, product
from dsc.lower.floats import condition
from dsc.targets.cpu.gemm.product import same_place
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.contraction.tiling import SEGMENT, STAGES, VECTOR, Tiling
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import launch, synchronize
from dsc.targets.gpu.tile import RegisterTile, unrolled
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, flat, function, when

Element: TypeAlias = Callable[[Expr, Expr], Expr]
"""Gives an element of an operand: by its row or column in the tile, and by its depth in all."""


def write(source: Contraction, tiling: Tiling, instruction: MultiplyAdd, layout: Layout) -> tirx.PrimFunc:
    """The function that computes `source` with `instruction`."""
    with function() as made:
        _Writer(source, tiling, instruction, layout).write()
    return made.get()


@dataclass(frozen=True)
class Layout:
    """How the operands lie in memory: what neighbouring threads load are neighbours there."""

    depth_of_a: bool
    """Whether elements of a row of the left operand are neighbours, not those of a column."""
    depth_of_b: bool
    """Whether elements of a column of the right operand are neighbours, not those of a row."""


@dataclass(frozen=True)
class _Block:
    """Where a block of threads is, and a thread in it."""

    batch: Expr
    at: list[Expr]
    """Coordinates of the batch."""
    row: Expr
    column: Expr
    """Of the result: where the tile begins."""
    thread: Expr
    down: Expr
    across: Expr
    """Of the thread, among those that share a column or a row of the tile."""


class _Writer:
    def __init__(self, source: Contraction, tiling: Tiling, instruction: MultiplyAdd, layout: Layout) -> None:
        self.source, self.tiling, self.instruction, self.layout = source, tiling, instruction, layout
        self.loops = Loops.over(source.params)
        self.steps = ceildiv(source.k, tiling.depth)
        self.whole_depth = isinstance(source.k, int) and source.k % tiling.depth == 0

    def write(self) -> None:
        """Declares the parameters and writes the kernel."""
        self._declare()
        source, tiling = self.source, self.tiling
        down, across = ceildiv(source.m, tiling.rows), ceildiv(source.n, tiling.columns)
        with launch(product(source.batch) * down * across, tiling.threads, self.loops) as (index, thread):
            rest, column = self.loops.split(index, across)
            batch, row = self.loops.split(rest, down)
            at = self.loops.unravel(batch, source.batch)
            ty, tx = self.loops.split(thread, tiling.threads_across)
            row, column = T.Bind(row * tiling.rows), T.Bind(column * tiling.columns)
            self._tile(_Block(batch, at, row, column, thread, ty, tx))

    def _declare(self) -> None:
        self.buffers = {t: argument(f"in{i}", t.shape, t.dtype) for i, t in enumerate(self.source.params)}
        for scalar in self.source.scalars:
            T.arg(scalar.name, scalar)
        outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(self.source.outputs)]
        self.flat = {tensor: flat(self.buffers[tensor]) for tensor in self.source.beside}
        """Inputs that are read where the outputs are written, as long arrays."""
        self.outputs = [flat(out) for out in outputs]
        self.loops.assume(self.source.assumed)

    # --- the tile of a block

    def _tile(self, block: _Block) -> None:
        tiling, row = self.tiling, self.instruction
        a = T.alloc_buffer((STAGES * tiling.depth * tiling.row_stride,), row.a, scope="shared")
        b = T.alloc_buffer((STAGES * tiling.depth * tiling.column_stride,), row.b, scope="shared")
        left = _Loaded(self.loops, tiling.rows, tiling.row_stride, tiling, a, self.layout.depth_of_a)
        right = _Loaded(self.loops, tiling.columns, tiling.column_stride, tiling, b, self.layout.depth_of_b)
        element_of_a, element_of_b = self._left(block), self._right(block)
        tile = RegisterTile(row, tiling.thread_rows, tiling.thread_columns)
        tile.clear()
        first = self.loops.const(0)
        for part, element in ((left, element_of_a), (right, element_of_b)):
            part.load(block.thread, first, element)
            part.store(block.thread, first)
        synchronize()
        with self.loops.each(self.steps) as step:
            half = tirx.floormod(step, STAGES)
            following = step + 1 < self.loops.const(self.steps)
            with when(following):
                left.load(block.thread, step + 1, element_of_a)
                right.load(block.thread, step + 1, element_of_b)
            self._multiply(block, tile, left, right, half)
            with when(following):
                other = tirx.floormod(step + 1, STAGES)
                left.store(block.thread, other)
                right.store(block.thread, other)
            synchronize()
        self._store(block, tile)

    def _multiply(self, block: _Block, tile: RegisterTile, left: _Loaded, right: _Loaded, half: Expr) -> None:
        """What is in one half of shared memory, added to the sums."""
        tiling, span = self.tiling, self.loops.span
        with unrolled(tiling.depth) as k:
            for start in range(0, tile.rows, VECTOR):
                place = left.row(half, k) + start * tiling.threads_down + block.down * VECTOR
                T.buffer_store(tile.a, left.shared[span(place, VECTOR)], [span(start, VECTOR)])
            for start in range(0, tile.columns, VECTOR):
                place = right.row(half, k) + start * tiling.threads_across + block.across * VECTOR
                T.buffer_store(tile.b, right.shared[span(place, VECTOR)], [span(start, VECTOR)])
            tile.step()

    # --- operands

    def _left(self, block: _Block) -> Element:
        """Elements of `a`, by row of the tile and by depth."""
        source, last = self.source, self.loops.const(self.source.m) - 1
        exact = isinstance(source.m, int) and source.m % self.tiling.rows == 0

        def element(i: Expr, k: Expr) -> Expr:
            row = T.Bind(block.row + i if exact else tirx.min(block.row + i, last))
            return self._operand(source.a, block.at, self.loops.unravel(row, source.rows), self._no_columns, k)

        return element

    def _right(self, block: _Block) -> Element:
        """Elements of `b`, by column of the tile and by depth."""
        source, last = self.source, self.loops.const(self.source.n) - 1
        exact = isinstance(source.n, int) and source.n % self.tiling.columns == 0

        def element(j: Expr, k: Expr) -> Expr:
            column = T.Bind(block.column + j if exact else tirx.min(block.column + j, last))
            return self._operand(source.b, block.at, self._no_rows, self.loops.unravel(column, source.columns), k)

        return element

    def _operand(
        self, operand: Expr, batch: Sequence[Expr], rows: Sequence[Expr], columns: Sequence[Expr], k: Expr
    ) -> Expr:
        """An operand at one place; 0 beyond the depth."""
        depth = self.loops.const(self.source.k)
        inside = k if self.whole_depth else T.Bind(tirx.min(k, depth - 1))
        walked = self.loops.unravel(inside, self.source.depth)
        value = Elements(self._leaves()).term(self.source.acc.op, operand, [*batch, *rows, *columns], walked)
        if self.whole_depth:
            return value
        return tirx.Select(condition(k < depth), value, tirx.const(0, str(value.expr_ty())))

    @property
    def _no_rows(self) -> list[Expr]:
        """Indices that an operand does not depend on."""
        return [self.loops.const(0)] * len(self.source.rows)

    @property
    def _no_columns(self) -> list[Expr]:
        return [self.loops.const(0)] * len(self.source.columns)

    def _leaves(self) -> dict[te.Tensor, Leaf]:
        def leaf(buffer: tirx.Buffer) -> Leaf:
            return lambda indices: buffer[tuple(indices)]

        return {tensor: leaf(buffer) for tensor, buffer in self.buffers.items()}

    # --- results

    def _store(self, block: _Block, tile: RegisterTile) -> None:
        """The epilogue of every sum, vector by vector."""
        source, tiling = self.source, self.tiling
        last = self.loops.const(source.m)
        exact = isinstance(source.m, int) and source.m % tiling.rows == 0
        with unrolled(tile.rows) as i, unrolled(tile.columns // VECTOR) as group:
            high, low = tirx.floordiv(i, VECTOR), tirx.floormod(i, VECTOR)
            row = T.Bind(block.row + high * (tiling.threads_down * VECTOR) + block.down * VECTOR + low)
            column = T.Bind(block.column + group * (tiling.threads_across * VECTOR) + block.across * VECTOR)
            with when(None if exact else row < last):
                self._vector(block, row, column, partial(_sum, tile, i, group))

    def _vector(self, block: _Block, row: Expr, column: Expr, sum_: Callable[[Expr], Expr]) -> None:
        """Neighbouring columns of one row, of every output: stored at once where rows are made of whole vectors."""
        n, loops = self.source.n, self.loops
        start = T.Bind((block.batch * loops.const(self.source.m) + row) * loops.const(n) + column)
        at = [*block.at, *loops.unravel(row, self.source.rows)]
        if not (isinstance(n, int) and n % VECTOR == 0):
            with unrolled(VECTOR) as v, when(column + v < loops.const(n)):
                place = [*at, *loops.unravel(column + v, self.source.columns)]
                values = self._values(place, sum_(v), lambda tensor: self.flat[tensor][start + v])
                for buffer, value in zip(self.outputs, values, strict=True):
                    T.buffer_store(buffer, value, [start + v])
            return
        span, own = loops.span(start, VECTOR), Loops().span(0, VECTOR)
        with when(None if n % self.tiling.columns == 0 else column < loops.const(n)):
            loaded = {tensor: self._registers(tensor.dtype) for tensor in self.flat}
            for tensor, registers in loaded.items():
                T.buffer_store(registers, self.flat[tensor][span], [own])
            results = [self._registers(output.dtype) for output in self.source.outputs]
            with unrolled(VECTOR) as v:
                place = [*at, *loops.unravel(column + v, self.source.columns)]
                values = self._values(place, sum_(v), lambda tensor: loaded[tensor][v])
                for result, value in zip(results, values, strict=True):
                    T.buffer_store(result, value, [v])
            for buffer, result in zip(self.outputs, results, strict=True):
                T.buffer_store(buffer, result[own], [span])

    def _values(self, at: Sequence[Expr], sum_: Expr, here: Callable[[te.Tensor], Expr]) -> list[Expr]:
        """The elements of the outputs at one place, from its sum and from `here`, what lies there in other tensors."""

        def leaf(tensor: te.Tensor) -> Leaf:
            def load(indices: Sequence[Expr]) -> Expr:
                is_here = same_place(indices, at, self.source.shape)
                return here(tensor) if is_here else self.buffers[tensor][tuple(indices)]

            return load

        leaves = {**self._leaves(), **{tensor: leaf(tensor) for tensor in self.flat}}
        elements = Elements({**leaves, self.source.acc: lambda _: sum_})
        return [elements.at(output, at) for output in self.source.outputs]

    def _registers(self, dtype: str) -> tirx.Buffer:
        return T.alloc_buffer((VECTOR,), dtype, scope="local")


def _sum(tile: RegisterTile, i: Expr, group: Expr, v: Expr) -> Expr:
    """A sum by its row, and by its vector and place in that."""
    return tile[i, group * VECTOR + v]


class _Loaded:
    """The tile of one operand in shared memory, ``[stage][depth][width]``, and what a thread has loaded of the next."""

    def __init__(
        self, loops: Loops, width: int, stride: int, tiling: Tiling, shared: tirx.Buffer, by_depth: bool
    ) -> None:
        """`stride`: of its rows. `by_depth`: whether neighbouring threads load neighbours in depth."""
        self.loops, self.width, self.stride, self.tiling = loops, width, stride, tiling
        self.shared, self.by_depth = shared, by_depth
        self.each = width * tiling.depth // tiling.threads
        self.registers: tirx.Buffer = T.alloc_buffer((self.each,), shared.dtype, scope="local")

    def row(self, half: Expr, k: Expr) -> Expr:
        """Where a row begins."""
        return (half * self.tiling.depth + k) * self.stride

    def load(self, thread: Expr, step: Expr, element: Element) -> None:
        """This thread's part of a step's tile, into registers."""
        with unrolled(self.each) as i:
            across, k = self._place(thread, i)
            T.buffer_store(self.registers, element(across, T.Bind(step * self.tiling.depth + k)), [i])

    def store(self, thread: Expr, half: Expr) -> None:
        """The registers to shared memory."""
        with unrolled(self.each) as i:
            across, k = self._place(thread, i)
            T.buffer_store(self.shared, self.registers[i], [self.row(half, k) + across])

    def _place(self, thread: Expr, i: Expr) -> tuple[Expr, Expr]:
        """Which element a thread loads: its position across the tile, and in depth."""
        position = i * self.tiling.threads + thread
        if self.by_depth:
            rest, low = self.loops.split(position, SEGMENT)
            high, across = self.loops.split(rest, self.width)
            return across, high * SEGMENT + low
        k, across = self.loops.split(position, self.width)
        return across, k
