"""From the sums in a warp's registers to the results in memory, by way of shared memory.

How sums lie in registers is the instruction's business, and no good to store them by: neighbouring threads would write
pieces of different rows. So warps write the sums of one row of their fragments side by side into shared memory, and
threads read neighbours in a row of them, apply the epilogue, and store neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import divides, same
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.access import VECTOR_TYPES, replaced
from dsc.targets.gpu.contraction.results import Beside
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import synchronize
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.tiling import Strip, Tiling
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, flat, when

VECTOR = 4
"""Neighbours in a row that a thread computes: 16 bytes of sums."""


@dataclass(frozen=True)
class WarpTile:
    """Where a warp's part of the result begins, and which of its threads is at work."""

    batch: Sequence[Expr]
    row: Expr
    column: Expr
    warp: Expr
    """Its index in the block."""
    lane: Expr


class Results:
    """Stores what a block computed."""

    def __init__(
        self,
        source: Contraction,
        tiling: Tiling,
        fragments: Fragments,
        buffers: Mapping[te.Tensor, tirx.Buffer],
        outputs: Sequence[tirx.Buffer],
        leaves: Mapping[te.Tensor, Leaf],
        loops: Loops,
    ) -> None:
        """buffers, leaves: of the inputs."""
        self.source, self.tiling, self.fragments, self.loops = source, tiling, fragments, loops
        self.leaves, self.outputs = leaves, [flat(output) for output in outputs]
        whole = all(str(output.dtype) in VECTOR_TYPES for output in source.outputs)
        self.vectors = whole and source.stored.vector(source.column_axes, VECTOR) == VECTOR
        """Whether results are stored several at a time."""
        self.beside = [(each, flat(buffers[each.tensor])) for each in source.beside if self._is_read_at_once(each)]
        self.strip = Strip.of(tiling, fragments)

    def _is_read_at_once(self, beside: Beside) -> bool:
        """Whether neighbours in a row are in memory side by side, as the results are."""
        access = beside.access
        return self.vectors and access is not None and access.vector(self.source.column_axes, VECTOR) == VECTOR

    def store(self, sums: tirx.Buffer, shared: tirx.Buffer, at: WarpTile, warp_size: int) -> None:
        """All sums of a block's warps, a row of fragments of each at once. Nobody reads `shared` any more."""
        across = self.tiling.warp_columns // self.fragments.columns
        base = T.Bind(at.warp * self.strip.words)
        with unrolled(self.tiling.warp_rows // self.fragments.rows) as down:
            with unrolled(across) as j:
                self._write(sums, (down * across + j) * self.fragments.sums, shared, base, at.lane, j)
            synchronize()
            self._read(shared, base, at, down, warp_size)
            synchronize()

    def _write(self, sums: tirx.Buffer, first: Expr, shared: tirx.Buffer, base: Expr, lane: Expr, j: Expr) -> None:
        """One fragment, by the neighbours that a lane has of it."""
        run, own = self.fragments.run, Loops()
        for register in range(0, self.fragments.sums, run):
            row, column = self.fragments.position(lane, register)
            word = base + row * self.strip.stride + column + j * self.fragments.columns
            T.buffer_store(shared, sums[own.span(first + register, run)], [self.loops.span(word, run)])

    def _read(self, shared: tirx.Buffer, base: Expr, at: WarpTile, down: Expr, warp_size: int) -> None:
        """A warp's strip, row by row: neighbouring lanes have neighbouring vectors."""
        across = self.strip.columns // VECTOR
        m, rows_at_once = self.source.m, warp_size // across
        line, vector = self.loops.split(at.lane, across)
        with self.loops.each(self.strip.rows // rows_at_once) as i:
            inner = T.Bind(i * rows_at_once + line)
            row = T.Bind(at.row + down * self.fragments.rows + inner)
            column = T.Bind(at.column + vector * VECTOR)
            words = self.loops.span(base + inner * self.strip.stride + vector * VECTOR, VECTOR)
            with when(None if divides(self.tiling.rows, m) else row < self.loops.const(m)):
                sums = self._registers(str(self.source.acc.dtype))
                T.buffer_store(sums, shared[words], [Loops().span(0, VECTOR)])
                (self._vector if self.vectors else self._elements)(at.batch, row, column, sums)

    def _vector(self, batch: Sequence[Expr], row: Expr, column: Expr, sums: tirx.Buffer) -> None:
        """Neighbours that are neighbours in memory."""
        n, own = self.source.n, Loops().span(0, VECTOR)
        with when(None if divides(self.tiling.columns, n) else column < self.loops.const(n)):
            at = self._indices(batch, row, column)
            span = self.loops.span(T.Bind(self.source.stored.position(at)), VECTOR)
            loaded = []
            for beside, memory in self.beside:
                registers = self._registers(memory.dtype)
                assert beside.access is not None
                place = self.loops.span(T.Bind(beside.access.position(at)), VECTOR)
                T.buffer_store(registers, memory[place], [own])
                loaded.append((beside, registers))
            results = [self._registers(output.dtype) for output in self.source.outputs]
            with unrolled(VECTOR) as v:
                here = self._indices(batch, row, column + v)
                for result, value in zip(results, self._values(here, sums[v], v, loaded), strict=True):
                    T.buffer_store(result, value, [v])
            for buffer, result in zip(self.outputs, results, strict=True):
                T.buffer_store(buffer, result[own], [span])

    def _elements(self, batch: Sequence[Expr], row: Expr, column: Expr, sums: tirx.Buffer) -> None:
        """One result at a time."""
        n = self.source.n
        exact = divides(self.tiling.columns, n)
        with unrolled(VECTOR) as v, when(None if exact else column + v < self.loops.const(n)):
            at = self._indices(batch, row, column + v)
            position = T.Bind(self.source.stored.position(at))
            for buffer, value in zip(self.outputs, self._values(at, sums[v], v, []), strict=True):
                T.buffer_store(buffer, value, [position])

    def _values(
        self, at: Sequence[Expr], sum_: Expr, v: Expr, loaded: Sequence[tuple[Beside, tirx.Buffer]]
    ) -> list[Expr]:
        """The elements of the outputs at one place: of its sum, and of what is `loaded` of other tensors."""

        def leaf(tensor: te.Tensor) -> Leaf:
            def load(indices: Sequence[Expr]) -> Expr:
                for beside, registers in loaded:
                    here = [replaced(index, self.source.stored.variables, at) for index in beside.indices]
                    if beside.tensor.same_as(tensor) and all(map(same, indices, here)):
                        return registers[v]
                return self.leaves[tensor](indices)

            return load

        leaves = {**self.leaves, **{beside.tensor: leaf(beside.tensor) for beside, _ in loaded}}
        elements = Elements({**leaves, self.source.acc: lambda _: sum_})
        place = self.source.place(at)
        return [elements.at(output, place) for output in self.source.outputs]

    def _indices(self, batch: Sequence[Expr], row: Expr, column: Expr) -> list[Expr]:
        """Along batch, rows and columns."""
        rows = self.loops.unravel(row, self.source.rows)
        return [*batch, *rows, *self.loops.unravel(T.Bind(column), self.source.columns)]

    def _registers(self, dtype: str) -> tirx.Buffer:
        return T.alloc_buffer((VECTOR,), dtype, scope="local")
