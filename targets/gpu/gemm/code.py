"""The code of a matrix product: a block of threads computes a tile of the result, a step of its depth after the other.

While threads multiply what is in shared memory, they load what the next step needs into registers; they write that to
the other half of shared memory, and meet. Of a step, a thread reads vectors of the left operand's column and of the
right operand's row, and adds all their products to its sums. Ragged rows and columns are those at the edge again and are
not stored; what is beyond the depth is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, product
from dsc.lower.floats import condition
from dsc.targets.cpu.gemm.product import Product, batch_at, same_dims, same_place
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.gemm.tiling import STAGES, VECTOR, Tiling
from dsc.targets.gpu.launch import launch, synchronize
from dsc.targets.gpu.tile import RegisterTile, unrolled
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, flat, function, when


def write(source: Product, tiling: Tiling, instruction: MultiplyAdd, layout: Layout) -> tirx.PrimFunc:
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
    turned: bool
    """Whether the right operand is a weight that is given turned: ``[.., k, n]`` for what was ``[n, k]``."""


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
    def __init__(self, source: Product, tiling: Tiling, instruction: MultiplyAdd, layout: Layout) -> None:
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
        self.buffers: dict[te.Tensor, tirx.Buffer] = {}
        for position, tensor in enumerate(self.source.params):
            turned = self.layout.turned and position == self.source.weight
            shape = [*tensor.shape[:-2], tensor.shape[-1], tensor.shape[-2]] if turned else tensor.shape
            self.buffers[tensor] = argument(f"in{position}", shape, tensor.dtype)
        for scalar in self.source.scalars:
            T.arg(scalar.name, scalar)
        outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(self.source.outputs)]
        shape = self.source.shape
        alike = [t for t in self.source.params if len(t.shape) == len(shape) and same_dims(t.shape, shape)]
        self.flat = {tensor: flat(self.buffers[tensor]) for tensor in alike}
        """Parameters that are read where the outputs are written, as long arrays."""
        self.outputs = [flat(out) for out in outputs]
        self.loops.assume(self.source.assumed)

    # --- the tile of a block

    def _tile(self, block: _Block) -> None:
        tiling, row = self.tiling, self.instruction
        a = T.alloc_buffer((STAGES * tiling.depth * tiling.row_stride,), row.a, scope="shared")
        b = T.alloc_buffer((STAGES * tiling.depth * tiling.columns,), row.b, scope="shared")
        left = _Loaded(self.loops, tiling.rows, tiling.row_stride, tiling, a, self.layout.depth_of_a)
        right = _Loaded(self.loops, tiling.columns, tiling.columns, tiling, b, self.layout.depth_of_b)
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

    def _left(self, block: _Block) -> Callable[[Expr, Expr], Expr]:
        """Elements of `a`, by row of the tile and by depth."""
        source, last = self.source, self.loops.const(self.source.m) - 1
        exact = isinstance(source.m, int) and source.m % self.tiling.rows == 0

        def element(i: Expr, k: Expr) -> Expr:
            row = block.row + i if exact else tirx.min(block.row + i, last)
            rows = self.loops.unravel(T.Bind(row), source.rows)
            leading = batch_at(source.a.shape[: len(source.a.shape) - 1 - len(rows)], source.batch, block.at)
            return self._or_zero(k, lambda inside: Elements(self._leaves()).at(source.a, [*leading, *rows, inside]))

        return element

    def _right(self, block: _Block) -> Callable[[Expr, Expr], Expr]:
        """Elements of `b`, by column of the tile and by depth."""
        source, last = self.source, self.loops.const(self.source.n) - 1
        exact = isinstance(source.n, int) and source.n % self.tiling.columns == 0
        leading = batch_at(source.b.shape[:-2], source.batch, block.at)

        def element(j: Expr, k: Expr) -> Expr:
            column = block.column + j if exact else tirx.min(block.column + j, last)
            return self._or_zero(k, lambda inside: self._b([*leading, inside, column]))

        return element

    def _b(self, at: Sequence[Expr]) -> Expr:
        if self.layout.turned:
            assert self.source.weight is not None
            return self.buffers[self.source.params[self.source.weight]][tuple(at)]
        return Elements(self._leaves()).at(self.source.b, at)

    def _or_zero(self, k: Expr, element: Callable[[Expr], Expr]) -> Expr:
        """The element at depth `k`; 0 beyond the last."""
        if self.whole_depth:
            return element(k)
        depth = self.loops.const(self.source.k)
        value = element(tirx.min(k, depth - 1))
        return tirx.Select(condition(k < depth), value, tirx.const(0, str(value.expr_ty())))

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
                self._vector(block, row, column, lambda v, i=i, group=group: tile[i, group * VECTOR + v])

    def _vector(self, block: _Block, row: Expr, column: Expr, sum_: Callable[[Expr], Expr]) -> None:
        """Neighbouring columns of one row, of every output: stored at once where rows are made of whole vectors."""
        n, loops = self.source.n, self.loops
        start = T.Bind((block.batch * loops.const(self.source.m) + row) * loops.const(n) + column)
        rows = loops.unravel(row, self.source.rows)
        if not (isinstance(n, int) and n % VECTOR == 0):
            with unrolled(VECTOR) as v, when(column + v < loops.const(n)):
                leaves = self._leaves() | self._alike([*block.at, *rows, column + v], lambda t: self.flat[t][start + v])
                for buffer, value in zip(
                    self.outputs, self._values(leaves, block, rows, column + v, sum_(v)), strict=True
                ):
                    T.buffer_store(buffer, value, [start + v])
            return
        span, own = loops.span(start, VECTOR), Loops().span(0, VECTOR)
        with when(None if n % self.tiling.columns == 0 else column < loops.const(n)):
            loaded = {tensor: self._registers(tensor.dtype) for tensor in self.flat}
            for tensor, registers in loaded.items():
                T.buffer_store(registers, self.flat[tensor][span], [own])
            results = [self._registers(output.dtype) for output in self.source.outputs]
            with unrolled(VECTOR) as v:
                leaves = self._leaves() | self._alike([*block.at, *rows, column + v], lambda t: loaded[t][v])
                for result, value in zip(results, self._values(leaves, block, rows, column + v, sum_(v)), strict=True):
                    T.buffer_store(result, value, [v])
            for buffer, result in zip(self.outputs, results, strict=True):
                T.buffer_store(buffer, result[own], [span])

    def _values(
        self, leaves: dict[te.Tensor, Leaf], block: _Block, rows: Sequence[Expr], column: Expr, sum_: Expr
    ) -> list[Expr]:
        """The elements of the outputs that come of a sum."""
        elements = Elements(leaves | {self.source.acc: lambda _: sum_})
        return [elements.at(output, [*block.at, *rows, column]) for output in self.source.outputs]

    def _alike(self, at: Sequence[Expr], here: Callable[[te.Tensor], Expr]) -> dict[te.Tensor, Leaf]:
        """Reads of what is shaped as the result: by its place in memory where it is the place that is computed."""

        def leaf(tensor: te.Tensor) -> Leaf:
            def load(indices: Sequence[Expr]) -> Expr:
                if same_place(indices, at, self.source.shape):
                    return here(tensor)
                return self.buffers[tensor][tuple(indices)]

            return load

        return {tensor: leaf(tensor) for tensor in self.flat}

    def _registers(self, dtype: str) -> tirx.Buffer:
        return T.alloc_buffer((VECTOR,), dtype, scope="local")


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

    def load(self, thread: Expr, step: Expr, element: Callable[[Expr, Expr], Expr]) -> None:
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
            across, k = self.loops.split(position, self.tiling.depth)
            return across, k
        k, across = self.loops.split(position, self.width)
        return across, k
