"""The code of a contraction by instructions on matrices: a block of threads computes a tile of the result, a step of
its depth after the other, and each of its warps a part of the tile; or, in slices, a part of each step's depth of it.

Several steps are in shared memory or on their way there. Every step, threads wait until the oldest has arrived, and
meet; then they start what the newest needs, in the place of the step before, which nobody reads any more, and multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import shared_scope
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.centering import Centering, LineSums
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.operand import Corner, FragmentPlace, Operand, is_transposed
from dsc.targets.gpu.matrix.pipeline import Pipeline
from dsc.targets.gpu.matrix.results import Results, WarpTile
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.tiling import WORD_BYTES, Tiling
from dsc.targets.gpu.matrix.transport import WORD, transport
from dsc.targets.gpu.matrix.writer import TileWriter
from dsc.targets.gpu.tile import unrolled


def write(
    source: Contraction, sides: tuple[Side, Side], tiling: Tiling, fragments: Fragments, machine: Gpu
) -> tirx.PrimFunc:
    """The function that computes the contraction of two factors."""
    return _Writer(source, sides, tiling, fragments, machine).written()


class _Writer(TileWriter):
    def __init__(
        self, source: Contraction, sides: tuple[Side, Side], tiling: Tiling, fragments: Fragments, machine: Gpu
    ) -> None:
        super().__init__(source, sides, tiling, machine)
        self.fragments = fragments

    def block(self, batch: Sequence[Expr], row: Expr, column: Expr, thread: Expr, threads: int) -> None:
        tiling, fragments, inputs = self.tiling, self.fragments, leaves(self.buffers)
        size = tiling.shared_bytes(fragments)
        shared = T.alloc_buffer((size // WORD_BYTES,), WORD, scope=shared_scope(size, self.machine))
        left = self._operand(self.sides[0], Corner(batch, row, tiling.rows), 0)
        behind = tiling.stages * left.tile.words
        right = self._operand(self.sides[1], Corner(batch, column, tiling.columns), behind)
        right = replace(right, order=fragments.order)
        ways = [
            [transport(each, shared, thread, threads, self.buffers, inputs, self.machine) for each in (left, right)]
            for _ in range(tiling.loads)
        ]
        warp, lane = self.loops.split(thread, self.machine.warp)
        slice_, part = self.loops.split(warp, tiling.warps_down * tiling.warps_across)
        warp_row, warp_column = self.loops.split(part, tiling.warps_across)
        place = _Part(lane, slice_, warp_row * tiling.warp_rows, warp_column * tiling.warp_columns)
        at = WarpTile(batch, T.Bind(row + place.row), T.Bind(column + place.column), slice_, part, lane)
        centering = Centering(*self.sides, Elements(inputs), self.loops)
        product_ = _Product(tiling, fragments, place, centering.sums(tiling, fragments, at))
        product_.clear()
        pipeline = Pipeline(self.machine, self.steps, tiling.stages, ways, self.loops)
        pipeline.begin()
        product_.run(pipeline, left, right, shared)
        if not tiling.direct:
            pipeline.finish()
        centering.apply(product_.sums, product_.lines, at, self.steps * (self.depth // tiling.slices))
        sector = self.machine.sector_bytes
        results = Results(self.source, tiling, fragments, self.buffers, self.outputs, self.loops, sector)
        results.store(product_.sums, shared, at, self.machine.warp)

    def _operand(self, side: Side, corner: Corner, base: int) -> Operand:
        transposed, sector = is_transposed(side, self.fragments), self.machine.sector_bytes
        return Operand(side, corner, self.depth, transposed, self.loops, base, sector_bytes=sector)


@dataclass(frozen=True)
class _Part:
    """What a warp has of a tile."""

    lane: Expr
    """The thread in it whose code is written."""
    slice: Expr
    """Of each step's depth."""
    row: Expr
    column: Expr
    """The first ones."""


class _Product:
    """The sums of a warp, in registers, and the fragments that are multiplied."""

    def __init__(self, tiling: Tiling, fragments: Fragments, part: _Part, lines: LineSums) -> None:
        """lines: sums beside the product's."""
        self.fragments, self.part, self.lines = fragments, part, lines
        self.pieces = tiling.warp_chunks // fragments.chunks
        """Fragments of a step, one behind the other in depth."""
        self.down = tiling.warp_rows // fragments.rows
        self.across = tiling.warp_columns // fragments.columns
        self.held = tiling.held_pieces(fragments)
        self.sums = T.alloc_buffer((self.down * self.across * fragments.sums,), fragments.accumulator, scope="local")
        self.a = T.alloc_buffer((self.held * self.down * fragments.words,), fragments.word, scope="local")
        self.b = T.alloc_buffer((self.held * self.across * fragments.words,), fragments.word, scope="local")

    def clear(self) -> None:
        """Sets all sums to 0."""
        with unrolled(self.down * self.across * self.fragments.sums) as i:
            T.buffer_store(self.sums, tirx.const(0, self.fragments.accumulator), [i])

    def run(self, pipeline: Pipeline, left: Operand, right: Operand, shared: tirx.Buffer) -> None:
        """The products of all steps."""

        def load(stage: Expr, piece: int) -> None:
            self._load(left, right, shared, stage, piece, piece % self.held)

        def step(_: Expr, stage: Expr) -> None:
            for piece in range(self.pieces):
                load(stage, piece)
                self._multiply(piece % self.held)

        if self.held > 1:
            pipeline.run_ahead(self.pieces, load, lambda piece: self._multiply(piece % self.held))
        else:
            pipeline.run(step)

    def _load(self, left: Operand, right: Operand, shared: tirx.Buffer, stage: Expr, piece: int, to: int) -> None:
        """The fragments of a piece of a step, to the `to`-th of those that are held."""
        fragments, part = self.fragments, self.part
        chunk = (part.slice * self.pieces + piece) * fragments.chunks
        with unrolled(self.across) as j:
            place = FragmentPlace(stage, part.column + j * fragments.columns, chunk)
            right.load(fragments.right, part.lane, self.b, (to * self.across + j) * fragments.words, shared, place)
        with unrolled(self.down) as i:
            place = FragmentPlace(stage, part.row + i * fragments.rows, chunk)
            left.load(fragments, part.lane, self.a, (to * self.down + i) * fragments.words, shared, place)

    def _multiply(self, which: int) -> None:
        """The products of the fragments that are held."""
        fragments = self.fragments
        with unrolled(self.across) as j:
            self.lines.add_column(j, self.b, (which * self.across + j) * fragments.words)
        with unrolled(self.down) as i:
            a_at = (which * self.down + i) * fragments.words
            self.lines.add_row(i, self.a, a_at)
            with unrolled(self.across) as j:
                first = (i * self.across + j) * fragments.sums
                b_at = (which * self.across + j) * fragments.words
                fragments.multiply(self.sums, first, self.a, a_at, self.b, b_at)
