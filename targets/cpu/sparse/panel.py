"""The inner loops of a sparse product: a panel of outputs by a tile of columns, entry by entry.

A column is a row of activations, or a pixel: the scratch has those of one input side by side, so that an entry loads
vectors of them and multiplies each by one number for each of its outputs. Of bytes, what an instruction multiplies at
once for a column has to lie side by side: four entries are interleaved in registers, or an entry has four neighbouring
inputs, which scratch has side by side already. No zero is multiplied. What is summed lies
with the outputs in rows; it is turned in registers, so that epilogues find the outputs side by side. An epilogue that
makes bytes of sums, by what it knows of an output alone, comes before that: then only bytes are turned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.tile import RegisterTile, reinterpreted
from dsc.targets.cpu.turn import CHUNK, in_turns, turned, turned_in_chunks
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, pieces

Finish: TypeAlias = Callable[[Expr, Expr, Expr], Expr]
"""Makes a byte of an output's number (which may be beyond the last), a sum of it, and the lane that this is in."""


@dataclass(frozen=True)
class Stream:
    """The arrays of a packed weight (`Entries`)."""

    starts: tirx.Buffer
    offsets: tirx.Buffer
    values: tirx.Buffer
    k: int
    """Inputs of a step."""

    @staticmethod
    def of(packed: Sequence[tirx.Buffer], k: int) -> Stream:
        """Of all arrays of a weight; sums are none of its entries."""
        starts, offsets, values, *_ = packed
        return Stream(starts, offsets, values, k)

    @property
    def outputs(self) -> int:
        """Of an entry."""
        return int(self.values.shape[1]) // self.k

    @property
    def entries(self) -> int:
        """Of a step."""
        return int(self.offsets.shape[1])

    @property
    def depth(self) -> int:
        """Inputs of an entry."""
        return self.k // self.entries


def square_of(instruction: MultiplyAdd, depth: int = 1) -> int:
    """The side of the squares that are turned on the way to scratch: a vector of floats, or of fours of bytes where
    entries have such a `depth`; 16 bytes."""
    return instruction.n if instruction.k == depth else CHUNK


class Panel:
    """Outputs of one panel for one tile of columns, in scratch of the task's own."""

    def __init__(
        self, stream: Stream, instruction: MultiplyAdd, columns: int, loops: Loops, finish: Finish | None = None
    ) -> None:  # fmt: skip
        """Allocates the scratch in the current frame.

        columns: of a tile; a multiple of the instruction's lanes, as many as four vectors have where these are
            interleaved. finish: makes bytes of sums; without it, sums are kept.
        """
        self.stream, self.instruction, self.columns, self.loops = stream, instruction, columns, loops
        self.lanes = instruction.n
        """Outputs of a panel as well."""
        self.finish = finish
        rows, element = self.lanes, instruction.accumulator
        if finish is not None:
            rows, element = self.lanes // stream.outputs, f"int{8 * stream.outputs}"
        self.kept = T.alloc_buffer((rows, columns), element)
        """Sums by output; or bytes, those of a group and a column side by side as one integer."""

    def multiply(self, panel: Expr, inputs: Callable[[Expr], Expr]) -> None:
        """Sums up the entries of a panel.

        inputs: gives elements of scratch at places that count from the first column of the tile, at the first input.
        """
        outputs = self.stream.outputs
        groups = self.lanes // outputs
        with self.loops.each(groups) as group:
            begin = T.Bind(self.stream.starts[panel * groups + group])
            end = T.Bind(self.stream.starts[panel * groups + group + 1])
            tile = RegisterTile(self.instruction, outputs, self.columns)
            tile.clear()
            with T.serial(tirx.const(0, "int32"), end - begin) as i:
                self._step(tile, begin + i, inputs)
            tile.finish()
            if self.finish is None:
                tile.store(self.kept, lambda i: [group * outputs + i], self.loops)
            else:
                self._finish(tile, panel, group, self.finish)

    def _finish(self, tile: RegisterTile, panel: Expr, group: Expr, finish: Finish) -> None:
        """Keeps what becomes of the sums of a group."""
        together = T.alloc_buffer((self.lanes,), "int32", scope="local")
        for start, lanes in tile.vectors:
            for i in range(tile.rows):  # one after the other: what they keep on the way has the same registers
                n = panel * self.lanes + (group * tile.rows + i)
                with self.loops.each(lanes, T.vectorized) as lane:
                    bits = finish(n, tile.sums[i, start + lane], lane).astype("uint8").astype("int32") << (8 * i)
                    T.buffer_store(together, together[lane] | bits if i else bits, [lane])
            with self.loops.each(lanes, T.vectorized) as lane:
                T.buffer_store(self.kept, together[lane].astype(self.kept.dtype), [group, start + lane])

    def _step(self, tile: RegisterTile, step: Expr, inputs: Callable[[Expr], Expr]) -> None:
        """All products of one step."""
        k, depth, stream = self.stream.k, self.stream.depth, self.stream
        offsets = [T.Bind(stream.offsets[step, j]) for j in range(stream.entries)]
        if stream.entries == 1:
            spans = [Loops().span(offsets[0] + depth * start, depth * lanes) for start, lanes in tile.vectors]
            vectors = [T.Bind(inputs(span)) for span in spans]
        else:
            vectors = _interleaved([T.Bind(inputs(Loops().span(offset, self.columns))) for offset in offsets])
        for o in range(stream.outputs):
            weight = T.Bind(tile.in_lanes(stream.values[step, Loops().span(o * k, k)], self.lanes))
            for v, vector in enumerate(vectors):
                tile.multiply_add(o, v, vector, weight)

    def rows(self, use: Callable[[Expr, int, tirx.Buffer], None]) -> None:
        """Turns the sums, vector by vector of columns.

        `use` is told a column, its number in the vector, and a buffer in registers whose row of that number has the
        sums of all outputs for the column.
        """
        lanes, span = self.lanes, self.loops.span
        with self.loops.each(self.columns // lanes) as part:
            first = T.Bind(part * lanes)
            vectors = [T.Bind(self.kept[output, span(first, lanes)]) for output in range(lanes)]
            rows = T.alloc_buffer((lanes, lanes), self.instruction.accumulator, scope="local")
            for i, row in enumerate(turned(vectors)):
                T.buffer_store(rows, row, [i, span(0, lanes)])
            for i in range(lanes):
                use(self._column(part, i), i, rows)

    def byte_rows(self, use: Callable[[Expr, Callable[[int], Expr]], None]) -> None:
        """Turns what is kept, where that is bytes and columns are whole chunks: a fraction of the shuffles of sums.

        `use` is told a column, and is given the first outputs of it, as many as it asks for, as a vector.
        """
        lanes, outputs = self.lanes, self.stream.outputs
        columns_of_chunk, kept_of_chunk = CHUNK // lanes, CHUNK // outputs
        for first, width in pieces(self.columns, lanes * self.stream.k // outputs):
            span = self.loops.span(first, width)
            rows = turned_in_chunks([T.Bind(self.kept[group, span]) for group in range(lanes // outputs)])
            for at in range(width):
                chunk, place = divmod(at, kept_of_chunk)
                row, begin = place // columns_of_chunk, chunk * CHUNK + place % columns_of_chunk * lanes
                vector, lane = divmod(first + at, lanes)
                use(self._column(self.loops.const(vector), lane), partial(_bytes_from, rows[row], begin))

    def _column(self, vector: Expr, lane: int) -> Expr:
        """The column that a lane of a vector of sums belongs to; interleaving puts bytes of a chunk in four vectors."""
        if self.stream.entries == 1:
            return vector * self.lanes + lane
        chunk, place = divmod(lane, CHUNK // self.stream.k)
        return vector * (CHUNK // self.stream.k) + (chunk * CHUNK + place)


def _bytes_from(vector: Expr, first: int, count: int) -> Expr:
    """So many bytes of a vector."""
    size = vector.ty.dtype.lanes * vector.ty.dtype.bits // 8
    return tirx.Shuffle([reinterpreted(vector, f"int8x{size}")], [tirx.const(first + i, "int32") for i in range(count)])


def _interleaved(rows: Sequence[Expr]) -> list[Expr]:
    """Of four vectors of bytes, four whose bytes of one column lie side by side, chunk by chunk."""
    first, second, third, fourth = rows
    low, high = in_turns(first, second)
    low_next, high_next = in_turns(third, fourth)
    return [*in_turns(low, low_next, 2), *in_turns(high, high_next, 2)]


def turn_into(
    scratch: tirx.Buffer, place: Callable[[int], Expr], vectors: Sequence[Expr], loops: Loops, depth: int = 1
) -> None:
    """Writes a square of elements, given as the vectors of inputs of one column each, with columns side by side.

    place: where those of an input go, by number, in `scratch` as one long array. depth: bytes that stay side by side,
    as one of the square's elements; 1 is for elements of any type.
    """
    lanes, element = len(vectors), scratch.dtype
    as_one = [vector if depth == 1 else reinterpreted(vector, f"int{8 * depth}x{lanes}") for vector in vectors]
    for i, row in enumerate(turned([T.Bind(vector) for vector in as_one])):
        stored = row if depth == 1 else reinterpreted(row, f"{element}x{depth * lanes}")
        T.buffer_store(scratch, stored, [loops.span(place(i), depth * lanes)])
