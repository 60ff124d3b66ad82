"""What follows the sums of a contraction, computed on a thread's tile of them, and stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import same
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.access import VECTOR_TYPES, is_multiple, ranges
from dsc.targets.gpu.contraction.exchange import Exchange
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.contraction.tiling import VECTOR, Tiling
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import shared_out, synchronize
from dsc.targets.gpu.neighbours import Neighbours, Read, from_registers
from dsc.targets.gpu.tile import RegisterTile, unrolled
from dsc.targets.tir.loops import Loops, when


@dataclass(frozen=True)
class Block:
    """Where a block of threads is, and a thread in it."""

    batch: list[Expr]
    """Indices along the batch."""
    row: Expr
    column: Expr
    """Of the result: where the tile begins."""
    thread: Expr
    slice: Expr
    """Which part of each step's depth the thread multiplies."""
    down: Expr
    across: Expr
    """Of the thread, among those that share a column or a row of the tile."""


class Epilogue:
    """Elements of the results, as many at once as lie side by side; so is what they read beside the sums.

    Where a thread's columns are stored at once, it does so itself. Where they are not, neighbouring threads would write
    pieces of memory with holes: then, and where the sums are in parts, these go to others by way of shared memory.
    """

    def __init__(
        self,
        source: Contraction,
        tiling: Tiling,
        loops: Loops,
        buffers: Mapping[te.Tensor, tirx.Buffer],
        outputs: Sequence[tirx.Buffer],
    ) -> None:
        """`buffers`: of the inputs. `outputs`: as long arrays."""
        self.source, self.tiling, self.loops = source, tiling, loops
        self.buffers, self.outputs = buffers, outputs
        whole = all(str(output.dtype) in VECTOR_TYPES for output in source.outputs)
        self.vector = source.stored.vector(source.column_axes, VECTOR) if whole else 1
        """Columns that are stored at once."""
        self.beside = [read for read in source.beside if self._is_side_by_side(read)]

    def write(self, block: Block, tile: RegisterTile) -> None:
        """All elements of a block's tile."""
        if self.vector == VECTOR and self.tiling.slices == 1:
            self._own(block, tile)
        else:
            self._exchanged(block, tile)

    def _own(self, block: Block, tile: RegisterTile) -> None:
        """What a thread has sums of."""
        source, tiling, vector = self.source, self.tiling, self.vector
        exact = isinstance(source.n, int) and source.n % tiling.columns == 0
        with unrolled(tile.columns // vector) as group:
            start = group * (tiling.threads_across * vector) + block.across * vector
            column = T.Bind(block.column + start)
            with when(None if exact else column < self.loops.const(source.n)):
                self._rows(block, tile, group, column)

    def _exchanged(self, block: Block, tile: RegisterTile) -> None:
        """Neighbours in the result for neighbouring threads, a row of each thread's tile at a time."""
        source, tiling, vector = self.source, self.tiling, self.vector
        exchange = Exchange(tiling, self.loops, str(source.acc.dtype))
        with unrolled(tile.rows) as i:
            exchange.put(block.slice, block.down, block.across, tile, i)
            synchronize()
            pieces = tiling.columns // vector
            with shared_out(tiling.threads_down * pieces, tiling.threads, block.thread, self.loops) as place:
                down, piece = self.loops.split(place, pieces)
                row, column = T.Bind(block.row + tiling.row(down, i)), T.Bind(block.column + piece * vector)
                with when(tirx.all(row < self.loops.const(source.m), column < self.loops.const(source.n))):
                    sums = exchange.sums(down, piece * vector, vector)
                    at, columns = [*block.batch, *self.loops.unravel(row, source.rows)], self._columns(column)
                    first = [*at, *columns]
                    registers = [
                        *self._loaded(first, for_rows=False),
                        *self._loaded(first, for_rows=True),
                    ]
                    self._elements(at, column, columns, sums.__getitem__, registers)
            synchronize()

    def _rows(self, block: Block, tile: RegisterTile, group: Expr, column: Expr) -> None:
        """All rows of neighbouring columns; what is the same for all rows is loaded once."""
        source, tiling, last = self.source, self.tiling, self.loops.const(self.source.m)
        columns = self._columns(column)
        nowhere = [self.loops.const(0)] * len(source.rows)
        once = self._loaded([*block.batch, *nowhere, *columns], for_rows=False)
        exact = isinstance(source.m, int) and source.m % tiling.rows == 0
        with unrolled(tile.rows) as i:
            row = T.Bind(block.row + tiling.row(block.down, i))
            with when(None if exact else row < last):
                at = [*block.batch, *self.loops.unravel(row, source.rows)]
                registers = [*once, *self._loaded([*at, *columns], for_rows=True)]
                self._elements(at, column, columns, _own_sums(tile, i, group * self.vector), registers)

    def _elements(
        self,
        at: Sequence[Expr],
        column: Expr,
        columns: Sequence[Expr],
        sums: Callable[[Expr], Expr],
        registers: Sequence[Neighbours],
    ) -> None:
        """A row's elements from `column` on, of their sums and of what is in registers."""
        results = [T.alloc_buffer((self.vector,), out.dtype, scope="local") for out in self.source.outputs]
        with unrolled(self.vector) as v:
            place = [*at, *self._neighbour(column, columns, v)]
            values = self._values(place, sums(v), registers, v)
            for result, value in zip(results, values, strict=True):
                T.buffer_store(result, value, [v])
        self._store(results, [*at, *columns])

    def _columns(self, column: Expr) -> list[Expr]:
        """The indices of a column."""
        return self.loops.unravel(column, self.source.columns)

    def _neighbour(self, column: Expr, columns: Sequence[Expr], v: Expr) -> list[Expr]:
        """The indices of the `v`-th of neighbouring columns."""
        if is_multiple(self.source.columns[-1], self.vector):
            return [*columns[:-1], columns[-1] + v]
        return self.loops.unravel(column + v, self.source.columns)

    def _store(self, results: Sequence[tirx.Buffer], at: Sequence[Expr]) -> None:
        span, own = self.loops.span(T.Bind(self.source.stored.position(at)), self.vector), Loops().span(0, self.vector)
        for buffer, result in zip(self.outputs, results, strict=True):
            T.buffer_store(buffer, result[own], [span])

    # --- what is read beside the sums

    def _is_side_by_side(self, read: Read) -> bool:
        """Whether what belongs to neighbouring columns is loaded at once."""
        return read.access is not None and read.access.vector(self.source.column_axes, self.vector) == self.vector > 1

    def _loaded(self, at: Sequence[Expr], *, for_rows: bool) -> list[Neighbours]:
        """What belongs to neighbouring columns, of inputs that differ from row to row, or do not."""
        return [
            Neighbours.load(read, self.vector, self.buffers[read.tensor], at, self.loops)
            for read in self.beside
            if self._differs(read) == for_rows
        ]

    def _differs(self, read: Read) -> bool:
        """Whether an input is read at other places for other rows."""
        assert read.access is not None
        first = len(self.source.batch)
        return not all(same(step, 0) for step in read.access.steps[first : first + len(self.source.rows)])

    def _values(self, at: Sequence[Expr], sum_: Expr, found: Sequence[Neighbours], v: Expr) -> list[Expr]:
        """The elements of the outputs at one place, from its sum and from what is in registers there."""
        known = ranges(at, self.source.stored.sizes)
        memory = from_registers(found, self.buffers, at, v, known)
        elements, place = Elements({**memory, self.source.acc: lambda _: sum_}, known), self.source.place(at)
        return [elements.at(output, place) for output in self.source.outputs]


def _own_sums(tile: RegisterTile, row: Expr, first: Expr) -> Callable[[Expr], Expr]:
    """Of a row of a thread's tile, from a column on."""
    return lambda v: tile[row, first + v]


def leaves(buffers: Mapping[te.Tensor, tirx.Buffer]) -> dict[te.Tensor, Leaf]:
    """Loads of what is in memory."""

    def leaf(buffer: tirx.Buffer) -> Leaf:
        return lambda indices: buffer[tuple(indices)]

    return {tensor: leaf(buffer) for tensor, buffer in buffers.items()}
