"""From the sums in a warp's registers to the results in memory: by way of shared memory, or straight.

How sums lie in registers is the instruction's business, and mostly no good to store them by: neighbouring threads would
write pieces of different rows. So warps write the sums of one row of their fragments side by side into shared memory,
and threads read neighbours in a row of them, apply the epilogue, and store neighbours in memory.

Where lanes have as many neighbours in a row as are stored at once, and those of a fragment's row fill whole pieces of
memory, nothing is gained by that, and it costs a passage there and back, and threads that meet (`is_direct`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import divides
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.access import VECTOR_TYPES, is_multiple, ranges
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import shared_out, synchronize
from dsc.targets.gpu.matrix.fragments import Sums
from dsc.targets.gpu.matrix.tiling import Strip, Tiling
from dsc.targets.gpu.neighbours import Neighbours, Read, from_registers
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, flat, when

VECTOR = 4
"""Sums that a thread reads at once at most, neighbours in a row: 16 bytes."""


@dataclass(frozen=True)
class WarpTile:
    """Where a warp's part of the result begins, and which of its threads is at work."""

    batch: Sequence[Expr]
    row: Expr
    column: Expr
    slice: Expr
    """Of the depth, that its sums are of."""
    part: Expr
    """Its index among the warps of the slice."""
    lane: Expr


def is_direct(source: Contraction, sums: Sums, sector_bytes: int) -> bool:
    """Whether sums may go from registers to memory: lanes have neighbours enough, and together whole pieces of memory
    of `sector_bytes`."""
    together = source.stored.vector(source.column_axes, sums.columns)
    is_whole = all(
        str(output.dtype) in VECTOR_TYPES and together * element_bytes(output) >= sector_bytes
        for output in source.outputs
    )
    return sums.run == VECTOR and is_whole


class Results:
    """Stores what a block computed."""

    def __init__(
        self,
        source: Contraction,
        tiling: Tiling,
        fragments: Sums,
        buffers: Mapping[te.Tensor, tirx.Buffer],
        outputs: Sequence[tirx.Buffer],
        loops: Loops,
        sector_bytes: int,
    ) -> None:
        """`buffers`: of the inputs. sector_bytes: what the machine writes at least."""
        self.source, self.tiling, self.fragments, self.loops = source, tiling, fragments, loops
        self.buffers, self.outputs = buffers, [flat(output) for output in outputs]
        whole = all(str(output.dtype) in VECTOR_TYPES for output in source.outputs)
        self.vector = source.stored.vector(source.column_axes, VECTOR) if whole else 1
        """Columns that are stored at once, and whose sums are read at once: neighbouring threads store neighbours, also
        where rows are no whole vectors."""
        self.beside = [read for read in source.beside if self._is_side_by_side(read)]
        self.strip = Strip.of(tiling, fragments)
        columns = self.strip.columns
        self.piece = source.piece or columns if source.is_broken(columns, sector_bytes) else columns
        """Columns that neighbouring lanes take before they go on to the next row."""

    def _is_side_by_side(self, read: Read) -> bool:
        """Whether what belongs to neighbouring columns is loaded at once."""
        return read.access is not None and read.access.vector(self.source.column_axes, self.vector) == self.vector > 1

    def store(self, sums: tirx.Buffer, shared: tirx.Buffer, at: WarpTile, warp_size: int) -> None:
        """All sums of a block's warps. Nobody reads `shared` any more, where they go through it."""
        if self.tiling.direct:
            self._from_registers(sums, at)
        else:
            self._through(shared, sums, at, warp_size)

    def _from_registers(self, sums: tirx.Buffer, at: WarpTile) -> None:
        """Each lane the neighbours that it has: column after column, as rows share what belongs to these."""
        fragments, tiling, m, own = self.fragments, self.tiling, self.source.m, Loops()
        down, across = tiling.warp_rows // fragments.rows, tiling.warp_columns // fragments.columns
        dtype = str(self.source.acc.dtype)
        with unrolled(across) as j, unrolled(down) as i:
            for register in range(0, fragments.sums, self.vector):
                line, place = fragments.position(at.lane, register)
                row = T.Bind(at.row + i * fragments.rows + line)
                column = T.Bind(at.column + j * fragments.columns + place)
                with when(None if divides(tiling.rows, m) else row < self.loops.const(m)):
                    values = T.alloc_buffer((self.vector,), dtype, scope="local")
                    span = own.span((i * across + j) * fragments.sums + register, self.vector)
                    T.buffer_store(values, _reinterpreted(sums[span], dtype, self.vector), [own.span(0, self.vector)])
                    self._row([*at.batch, *self.loops.unravel(row, self.source.rows)], column, values)

    def _through(self, shared: tirx.Buffer, sums: tirx.Buffer, at: WarpTile, warp_size: int) -> None:
        """By way of shared memory, as many rows of fragments of each warp at once as there is room for: threads meet
        the less often, and have the more to load and store meanwhile."""
        down, across = self.tiling.warp_rows // self.fragments.rows, self.tiling.warp_columns // self.fragments.columns
        base = T.Bind((at.part * self.tiling.slices + at.slice) * self.strip.words)
        at_once = self.tiling.strips_at_once(self.fragments)
        for first in range(0, down, at_once):
            group = range(first, min(first + at_once, down))
            for index, row in enumerate(group):
                place = base + index * self.tiling.warps * self.strip.words
                with unrolled(across) as j:
                    self._write(sums, (row * across + j) * self.fragments.sums, shared, place, at.lane, j)
            synchronize()
            for index, row in enumerate(group):
                self._read(shared, at, row, index, warp_size)
            if group.stop < down:
                synchronize()

    def _write(self, sums: tirx.Buffer, first: Expr, shared: tirx.Buffer, base: Expr, lane: Expr, j: Expr) -> None:
        """One fragment, by the neighbours that a lane has of it."""
        run, own = self.fragments.run, Loops()
        for register in range(0, self.fragments.sums, run):
            row, column = self.fragments.position(lane, register)
            word = base + row * self.strip.stride + column + j * self.fragments.columns
            values = _reinterpreted(sums[own.span(first + register, run)], str(shared.dtype), run)
            T.buffer_store(shared, values, [self.loops.span(word, run)])

    def _read(self, shared: tirx.Buffer, at: WarpTile, down: int, index: int, warp_size: int) -> None:
        """A warp's strip, the `index`-th of those there are, and those of the other slices, by the warps that have one:
        neighbouring lanes have neighbouring vectors."""
        tiling, strip, m, count = self.tiling, self.strip, self.source.m, self.vector
        across = strip.columns // count
        first = T.Bind((at.part * tiling.slices + index * tiling.warps) * strip.words)
        thread = T.Bind(at.slice * warp_size + at.lane)
        with shared_out(strip.rows * across, tiling.slices * warp_size, thread, self.loops) as place:
            line, vector = self._line_and_vector(place)
            row = T.Bind(at.row + down * self.fragments.rows + line)
            column = T.Bind(at.column + vector * count)
            word, dtype = T.Bind(first + line * strip.stride + vector * count), str(self.source.acc.dtype)
            with when(None if divides(tiling.rows, m) else row < self.loops.const(m)):
                sums, own = T.alloc_buffer((count,), dtype, scope="local"), Loops().span(0, count)
                T.buffer_store(sums, _reinterpreted(shared[self.loops.span(word, count)], dtype, count), [own])
                for other in range(1, tiling.slices):
                    more = shared[self.loops.span(word + other * strip.words, count)]
                    T.buffer_store(sums, sums[own] + _reinterpreted(more, dtype, count), [own])
                self._row([*at.batch, *self.loops.unravel(row, self.source.rows)], column, sums)

    def _line_and_vector(self, place: Expr) -> tuple[Expr, Expr]:
        """Of the `place`-th vector of a strip: row by row, or piece by piece of all rows."""
        together = self.piece // self.vector
        rest, vector = self.loops.split(place, together)
        if self.piece == self.strip.columns:
            return rest, vector
        before, line = self.loops.split(rest, self.strip.rows)
        return line, before * together + vector

    def _row(self, at: Sequence[Expr], column: Expr, sums: tirx.Buffer) -> None:
        """Neighbours in a row, from a column on, that are side by side in memory."""
        n, loops = self.source.n, self.loops
        with when(None if divides(self.tiling.columns, n) else column < loops.const(n)):
            columns = loops.unravel(column, self.source.columns)
            place = [*at, *columns]
            beside = [
                Neighbours.load(read, self.vector, self.buffers[read.tensor], place, loops) for read in self.beside
            ]
            results = [T.alloc_buffer((self.vector,), out.dtype, scope="local") for out in self.source.outputs]
            with unrolled(self.vector) as v:
                values = self._values([*at, *self._neighbour(column, columns, v)], sums[v], beside, v)
                for result, value in zip(results, values, strict=True):
                    T.buffer_store(result, value, [v])
            self._store(results, place)

    def _neighbour(self, column: Expr, columns: Sequence[Expr], v: Expr) -> list[Expr]:
        """The indices of the `v`-th of neighbouring columns."""
        if is_multiple(self.source.columns[-1], self.vector):
            return [*columns[:-1], columns[-1] + v]
        return self.loops.unravel(T.Bind(column + v), self.source.columns)

    def _store(self, results: Sequence[tirx.Buffer], at: Sequence[Expr]) -> None:
        span, own = self.loops.span(T.Bind(self.source.stored.position(at)), self.vector), Loops().span(0, self.vector)
        for buffer, result in zip(self.outputs, results, strict=True):
            T.buffer_store(buffer, result[own], [span])

    def _values(self, at: Sequence[Expr], sum_: Expr, beside: Sequence[Neighbours], v: Expr) -> list[Expr]:
        """The elements of the outputs at one place, from its sum and from what is in registers there."""
        known = ranges(at, self.source.stored.sizes)
        memory = from_registers(beside, self.buffers, at, v, known)
        elements, place = Elements({**memory, self.source.acc: lambda _: sum_}, known), self.source.place(at)
        return [elements.at(output, place) for output in self.source.outputs]


def _reinterpreted(values: Expr, dtype: str, count: int) -> Expr:
    """The bits of so many numbers as those of another type, if it is another."""
    wanted = dtype if count == 1 else f"{dtype}x{count}"
    return values if str(values.expr_ty()) == wanted else tirx.reinterpret(wanted, values)
