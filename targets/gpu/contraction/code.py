"""The code of a contraction: a block of threads computes a tile of the result, a step of its depth after the other.

While threads multiply what is in shared memory, they load what the next step needs into registers; they write that to
the other half of shared memory, and meet. Of a step, a thread reads vectors of the left factor's column and of the
right factor's row, and adds all their products to its sums. Rows and columns beyond the edge are the last ones again,
and are not stored; what is beyond the depth is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, product
from dsc.targets.gpu.contraction.epilogue import Block, Epilogue
from dsc.targets.gpu.contraction.fetch import Fetch
from dsc.targets.gpu.contraction.loading import Loaded, Loading
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.contraction.tiling import STAGES, VECTOR, Tiling
from dsc.targets.gpu.launch import launch, synchronize
from dsc.targets.gpu.tile import RegisterTile, unrolled
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, flat, function, when


@dataclass(frozen=True)
class Layout:
    """How both factors are loaded."""

    a: Loading
    b: Loading


def write(source: Contraction, tiling: Tiling, instruction: MultiplyAdd, layout: Layout) -> tirx.PrimFunc:
    """The function that computes `source` with `instruction`."""
    with function() as made:
        _Writer(source, tiling, instruction, layout).write()
    return made.get()


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
            slice_, place = self.loops.split(thread, tiling.slice_threads)
            ty, tx = self.loops.split(place, tiling.threads_across)
            row, column = T.Bind(row * tiling.rows), T.Bind(column * tiling.columns)
            self._tile(Block(at, row, column, thread, slice_, ty, tx))

    def _declare(self) -> None:
        self.buffers = {t: argument(f"in{i}", t.shape, t.dtype) for i, t in enumerate(self.source.params)}
        for scalar in self.source.scalars:
            T.arg(scalar.name, scalar)
        outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(self.source.outputs)]
        self.outputs = [flat(out) for out in outputs]
        self.loops.assume(self.source.assumed)

    # --- the tile of a block

    def _tile(self, block: Block) -> None:
        tiling, row, source = self.tiling, self.instruction, self.source
        a = T.alloc_buffer((STAGES * tiling.depth * tiling.row_stride,), row.a, scope="shared")
        b = T.alloc_buffer((STAGES * tiling.depth * tiling.column_stride,), row.b, scope="shared")
        left = Loaded(self.loops, tiling.rows, tiling.row_stride, tiling, a, self.layout.a, tiling.row_place)
        right = Loaded(self.loops, tiling.columns, tiling.column_stride, tiling, b, self.layout.b, _in_order)
        common = self.buffers, self.loops, block.batch
        fetch_left = Fetch(source.a, self.layout.a, *common, block.row, tiling.rows, self.whole_depth)
        fetch_right = Fetch(source.b, self.layout.b, *common, block.column, tiling.columns, self.whole_depth)
        tile = RegisterTile(row, tiling.thread_rows, tiling.thread_columns)
        tile.clear()
        first = self.loops.const(0)
        for part, fetch in ((left, fetch_left), (right, fetch_right)):
            part.load(block.thread, first, fetch)
            part.store(block.thread, first)
        synchronize()
        with self.loops.each(self.steps) as step:
            half = tirx.floormod(step, STAGES)
            following = step + 1 < self.loops.const(self.steps)
            with when(following):
                left.load(block.thread, step + 1, fetch_left)
                right.load(block.thread, step + 1, fetch_right)
            self._multiply(block, tile, left, right, half)
            with when(following):
                other = tirx.floormod(step + 1, STAGES)
                left.store(block.thread, other)
                right.store(block.thread, other)
            synchronize()
        Epilogue(source, tiling, self.loops, self.buffers, self.outputs).write(block, tile)

    def _multiply(self, block: Block, tile: RegisterTile, left: Loaded, right: Loaded, half: Expr) -> None:
        """What is in one half of shared memory, added to the sums."""
        tiling, span = self.tiling, self.loops.span
        with unrolled(tiling.depth // tiling.slices) as i:
            k = i * tiling.slices + block.slice
            for start in range(0, tile.rows, VECTOR):
                place = left.row(half, k) + start * tiling.threads_down + block.down * VECTOR
                T.buffer_store(tile.a, left.shared[span(place, VECTOR)], [span(start, VECTOR)])
            for start in range(0, tile.columns, VECTOR):
                place = right.row(half, k) + start * tiling.threads_across + block.across * VECTOR
                T.buffer_store(tile.b, right.shared[span(place, VECTOR)], [span(start, VECTOR)])
            tile.step()


def _in_order(column: Expr) -> Expr:
    """Where a column of the right tile is in shared memory."""
    return column
