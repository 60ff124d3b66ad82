"""The code of a product of a few rows.

A thread has a few columns of all rows of its block, and every so many steps of the depth: it loads neighbours of the
matrix at once, and multiplies each by an element of every row. Threads of a warp that share a column add their sums by
exchanging registers, warps by way of shared memory; then the threads of the block share out the epilogue. Rows and
columns beyond the edge are the last ones again, and are not stored; what is beyond the depth is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, divides, product
from dsc.targets.gpu.access import is_multiple, ranges
from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import Group, launch, shared_out, synchronize
from dsc.targets.gpu.tile import unrolled
from dsc.targets.gpu.vector_product.operand import Operand, Registers
from dsc.targets.gpu.vector_product.sharing import THREADS, Sharing
from dsc.targets.gpu.vector_product.source import VectorProduct
from dsc.targets.tir.loops import Loops, argument, flat, function, when

Indices: TypeAlias = Callable[[Expr], list[Expr]]
"""Those of the n-th of neighbours."""


def write(source: VectorProduct, sharing: Sharing) -> tirx.PrimFunc:
    """The function that computes `source`, by one launch, or by two where the depth is in slices."""
    with function() as made:
        _Writer(source, sharing).write()
    return made.get()


@dataclass(frozen=True)
class _Block:
    """Where a block of threads is, and a thread in it."""

    batch: list[Expr]
    """Coordinates."""
    row: Expr
    column: Expr
    """The first ones."""
    slice: Expr
    thread: Expr
    x: Expr
    y: Expr
    """The thread, among those that differ in column, and in depth."""


class _Writer:
    def __init__(self, source: VectorProduct, sharing: Sharing) -> None:
        self.source, self.sharing, self.sums = source, sharing, source.contraction
        self.loops = Loops.over(self.sums.params)
        self.steps = ceildiv(self.sums.k, sharing.step * sharing.slices)
        """Of a slice."""
        self.dtype = str(self.sums.acc.dtype)

    def write(self) -> None:
        """Declares the parameters and writes the launches."""
        source, sharing, sums = self.source, self.sharing, self.sums
        self._declare()
        down, across = ceildiv(source.m, sharing.rows), ceildiv(source.n, sharing.width)
        parts = [product(sums.batch), across, down, sharing.slices]
        with launch(product(parts), sharing.threads, self.loops) as (index, thread):
            batch, column, row, slice_ = self.loops.unravel(index, parts)
            high, low = self.loops.split(thread, sharing.down if sharing.by_depth else sharing.across)
            x, y = (high, low) if sharing.by_depth else (low, high)
            row, column = T.Bind(row * sharing.rows), T.Bind(column * sharing.width)
            self._block(_Block(self.loops.unravel(batch, sums.batch), row, column, slice_, thread, x, y))
        if sharing.slices > 1:
            self._add_slices()

    def _declare(self) -> None:
        sums, slices = self.sums, self.sharing.slices
        self.buffers = {tensor: argument(f"in{i}", tensor.shape, tensor.dtype) for i, tensor in enumerate(sums.params)}
        for scalar in sums.scalars:
            T.arg(scalar.name, scalar)
        outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(sums.outputs)]
        self.outputs = [flat(output) for output in outputs]
        self.loops.assume(sums.assumed)
        if slices > 1:
            self.scratch = T.alloc_buffer((slices, *sums.stored.sizes), self.dtype, scope="global")

    # --- the sums of a block

    def _block(self, block: _Block) -> None:
        sharing, source = self.sharing, self.source
        vectors = Registers(source.vectors, sharing.rows * sharing.depth, self.buffers, self.loops)
        matrix = Registers(source.matrix, sharing.columns * sharing.depth, self.buffers, self.loops)
        sums = T.alloc_buffer((sharing.rows * sharing.columns,), self.dtype, scope="local")
        with unrolled(sharing.rows * sharing.columns) as i:
            T.buffer_store(sums, tirx.const(0, self.dtype), [i])
        with self.loops.each(self.steps) as step:
            step = T.Bind(block.slice * self.loops.const(self.steps) + step)
            self._load_matrix(block, matrix, step)
            self._load_vectors(block, vectors, step)
            with unrolled(sharing.depth) as k, unrolled(sharing.rows) as i, unrolled(sharing.columns) as j:
                place = i * sharing.columns + j
                term = vectors.values[i * sharing.depth + k] * matrix.values[self._register(k, j)]
                T.buffer_store(sums, sums[place] + term, [place])
        self._store(block, self._shared(block, sums))

    def _load_matrix(self, block: _Block, matrix: Registers, step: Expr) -> None:
        """The elements of a step: neighbours in depth for each column, or in column for each depth."""
        sharing, source = self.sharing, self.source
        if sharing.by_depth:
            with unrolled(sharing.columns) as j:
                column = T.Bind(self._bounded(block.column + j * sharing.across + block.x, source.n, 1))
                at = [*block.batch, *self.loops.unravel(column, source.columns)]
                self._along_depth(block, matrix, source.matrix, at, step, self._register(0, j))
            return
        column = T.Bind(self._bounded(block.column + block.x * sharing.columns, source.n, sharing.columns))
        with unrolled(sharing.depth) as k:
            depth, inside = self._depth(block, step, k, 1)
            walked = self.loops.unravel(depth, self.sums.depth)
            columns = self._run(column, source.columns, sharing.columns)
            matrix.load(
                self._register(k, 0), sharing.columns, source.axes,
                lambda j: [*block.batch, *columns(j), *walked], inside,
            )  # fmt: skip

    def _load_vectors(self, block: _Block, vectors: Registers, step: Expr) -> None:
        """What every row is multiplied by in a step."""
        source = self.source
        with unrolled(self.sharing.rows) as i:
            row = T.Bind(self._bounded(block.row + i, source.m, 1))
            at = [*block.batch, *self.loops.unravel(row, source.rows)]
            self._along_depth(block, vectors, source.vectors, at, step, i * self.sharing.depth)

    def _along_depth(
        self, block: _Block, registers: Registers, operand: Operand, at: list[Expr], step: Expr, first: Expr
    ) -> None:
        """The depths of a thread in a step, into registers from `first` on: as many at once as are a vector."""
        axes = operand.factor.depth_axes
        count = 1 if self.sharing.interleaved else min(operand.together(axes), self.sharing.depth)
        with unrolled(self.sharing.depth // count) as part:
            depth, inside = self._depth(block, step, part * count, count)
            walked = self._run(depth, self.sums.depth, count)
            registers.load(first + part * count, count, axes, lambda k: [*at, *walked(k)], inside)

    def _depth(self, block: _Block, step: Expr, k: Expr, count: int) -> tuple[Expr, Expr | None]:
        """Where the first of `count` neighbours is, which is the thread's `k`-th in a step, and whether they are within
        the depth, where some may not be."""
        sharing, depth = self.sharing, self.sums.k
        if sharing.interleaved:
            place = T.Bind((step * sharing.depth + k) * sharing.down + block.y)
        else:
            place = T.Bind((step * sharing.down + block.y) * sharing.depth + k)
        if divides(sharing.step * sharing.slices, depth):
            return place, None
        return T.Bind(self._bounded(place, depth, count)), place < self.loops.const(depth)

    def _run(self, first: Expr, sizes: tuple[Dim, ...], count: int) -> Indices:
        """The indices of `count` neighbours, from the place `first` on."""
        at = self.loops.unravel(first, sizes)
        if count == 1:
            return lambda _: at
        if is_multiple(sizes[-1], count):
            return lambda v: [*at[:-1], at[-1] + v]
        return lambda v: self.loops.unravel(first + v, sizes)

    def _bounded(self, index: Expr, size: Dim, count: int) -> Expr:
        """The index, or the last of which `count` neighbours are within `size`."""
        return tirx.min(index, self.loops.const(size) - count)

    def _register(self, k: Expr | int, j: Expr | int) -> Expr:
        """Where a thread has an element of the matrix: what is loaded at once is side by side."""
        return j * self.sharing.depth + k if self.sharing.by_depth else k * self.sharing.columns + j

    # --- what threads put together

    def _shared(self, block: _Block, sums: tirx.Buffer) -> tirx.Buffer:
        """The sums of each warp, ``[parts][rows][row_places]`` in shared memory."""
        sharing, warp = self.sharing, self.source.machine.warp
        together = sharing.down // sharing.parts(warp)
        if together > 1:
            apart = 1 if sharing.by_depth else sharing.across
            group = Group(self.source.machine, together, block.thread, self.loops, apart)
            one = T.alloc_buffer((1,), self.dtype, scope="local")
            with unrolled(sharing.rows * sharing.columns) as i:
                T.buffer_store(one, sums[i], [0])
                group.reduce(one, lambda a, b: a + b)
                T.buffer_store(sums, one[0], [i])
        places = sharing.rows * sharing.row_places
        shared = T.alloc_buffer((sharing.parts(warp) * places,), self.dtype, scope="shared")
        part, rest = self.loops.split(block.y, together)
        lines, vector = sharing.columns // sharing.vector, sharing.vector
        with when(tirx.EQ(rest, self.loops.const(0))), unrolled(sharing.rows) as i, unrolled(lines) as line:
            start = part * places + i * sharing.row_places + line * sharing.pitch + block.x * vector
            values = sums[self.loops.span(i * sharing.columns + line * vector, vector)]
            T.buffer_store(shared, values, [self.loops.span(start, vector)])
        synchronize()
        return shared

    def _store(self, block: _Block, shared: tirx.Buffer) -> None:
        """The epilogue of every sum of the block, or the sum as it is."""
        sharing, source, loops = self.sharing, self.source, self.loops
        places = sharing.rows * sharing.row_places
        total = T.alloc_buffer((1,), self.dtype, scope="local")
        with shared_out(sharing.rows * sharing.width, sharing.threads, block.thread, loops) as element:
            if sharing.by_row:
                j, i = loops.split(element, sharing.rows)
            else:
                i, j = loops.split(element, sharing.width)
            T.buffer_store(total, tirx.const(0, self.dtype), [0])
            with unrolled(sharing.parts(source.machine.warp)) as part:
                place = part * places + i * sharing.row_places + self._shared_place(j)
                T.buffer_store(total, total[0] + shared[place], [0])
            row, column = T.Bind(block.row + i), T.Bind(block.column + j)
            with when(tirx.all(row < loops.const(source.m), column < loops.const(source.n))):
                rows, columns = loops.unravel(row, source.rows), loops.unravel(column, source.columns)
                at = source.at(block.batch, rows, columns)
                if sharing.slices > 1:
                    T.buffer_store(self.scratch, total[0], [block.slice, *at])
                else:
                    self._epilogue(at, total[0])

    def _shared_place(self, column: Expr) -> Expr:
        """Where a row has a column of the block in shared memory."""
        sharing = self.sharing
        if sharing.by_depth:
            line, x = self.loops.split(column, sharing.across)
            return line * sharing.pitch + x
        x, own = self.loops.split(column, sharing.columns)
        line, lane = self.loops.split(own, sharing.vector)
        return line * sharing.pitch + x * sharing.vector + lane

    def _add_slices(self) -> None:
        """A launch with a thread for each sum."""
        sizes, (threads, *_), loops = self.sums.stored.sizes, THREADS, self.loops
        count = product(sizes)
        with launch(ceildiv(count, threads), threads, loops) as (block, thread):
            place = T.Bind(block * threads + thread)
            with when(None if divides(threads, count) else place < loops.const(count)):
                at = loops.unravel(place, sizes)
                total = T.alloc_buffer((1,), self.dtype, scope="local")
                T.buffer_store(total, tirx.const(0, self.dtype), [0])
                with unrolled(self.sharing.slices) as part:
                    T.buffer_store(total, total[0] + self.scratch[(part, *at)], [0])
                self._epilogue(at, total[0])

    def _epilogue(self, at: list[Expr], total: Expr) -> None:
        """The elements of the outputs at one place of the contraction, from its sum."""
        sums, known = self.sums, ranges(at, self.sums.stored.sizes)
        elements = Elements({**leaves(self.buffers), sums.acc: lambda _: total}, known)
        for output, buffer in zip(sums.outputs, self.outputs, strict=True):
            T.buffer_store(buffer, elements.at(output, sums.place(at)), [sums.stored.position(at)])
