"""A tile of the left factor as lines of depth in shared memory: how it lies there, and how it comes there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import simplify
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Operand
from dsc.targets.gpu.matrix.side import WORD_BITS, Side, gathered, with_signs
from dsc.targets.gpu.matrix.tiling import BANKED_CHUNKS, CHUNK_WORDS, SharedTile
from dsc.targets.gpu.matrix.transport import (
    WORD,
    AsynchronousCopies,
    SingleElements,
    ThroughRegisters,
    Transport,
    Vectors,
    as_words,
)
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, flat, spread, when

STEPS_TOGETHER = 64
"""Of the depth, that neighbouring threads load single elements of: rows of odd lengths begin anywhere in a piece of
memory, so each of these costs one more than it fills."""
BROKEN_SECTORS = 4
"""Pieces of memory of a row that are loaded side by side where rows are no whole ones."""


class Lines(SharedTile):
    """A `SharedTile` of which lines 4, 8 and 16 apart begin in different banks, too: threads that turn memory round
    write these together."""

    def place(self, stage: Expr, line: Expr, chunk: Expr) -> Expr:
        """The word at which a chunk begins."""
        if self.chunks % BANKED_CHUNKS:
            return super().place(stage, line, chunk)
        block = tirx.floordiv(line, BANKED_CHUNKS)
        apart = tirx.bitwise_or(tirx.floormod(block, 2) * 4, tirx.floormod(tirx.floordiv(block, 2), 2) * 2)
        key = tirx.bitwise_xor(tirx.floormod(line, BANKED_CHUNKS), apart)
        moved = tirx.bitwise_xor(chunk, key)
        return stage * self.words + ((line * self.chunks + moved) * CHUNK_WORDS + self.base)

    def banks(self) -> tuple[int, ...]:
        """In which eighth of all banks each line begins."""
        zero = tirx.const(0, "int32")
        words = (simplify(self.place(zero, tirx.const(line, "int32"), zero)) for line in range(self.lines))
        return tuple(int(word) // CHUNK_WORDS % BANKED_CHUNKS for word in words)


@dataclass(frozen=True)
class LinesOfDepth(Operand):
    """A factor's tile, each line of which is one step of depth."""

    @property
    def tile(self) -> Lines:
        """In shared memory."""
        return Lines(self.depth, self.corner.lines // self.side.chunk, self.base)


def turned(side: Side) -> int:
    """Neighbours in depth that threads load at once and store from line to line; 1 where other ways are taken."""
    is_turned = side.factor.access is not None and not side.is_converted and side.together_in_lines < side.chunk
    return side.together_in_depth if is_turned else 1


class Turned(ThroughRegisters):
    """Neighbours in depth are loaded at once, of as many rows as a word has elements; stored is a word of each depth.

    Neighbouring threads load neighbours in memory up to a piece of it, then those of the next rows.
    """

    @property
    def words(self) -> int:
        """Of a thread's piece: one for each of the neighbours."""
        return turned(self.operand.side)

    def begin(self, step: Expr, stage: Expr) -> None:
        operand, own, access = self.operand, Loops(), self.operand.side.factor.access
        assert access is not None
        per_word = WORD_BITS // operand.side.bits
        loaded = self.words // per_word
        with unrolled(self.pieces) as i:
            rows, piece = self._piece(i)
            k = self.loops.bind(step * operand.depth + piece * self.words)
            for which in range(per_word):
                number = self.loops.bind(operand.corner.line + rows * per_word + which)
                span = own.span(i * self.words + which * loaded, loaded)
                inside = operand.is_inside(access, number, k)
                if inside is not None:
                    T.buffer_store(self.registers, spread(tirx.const(0, WORD), loaded), [span])
                with when(inside):
                    first = tirx.floordiv(operand.position(access, number, k), self.loops.const(per_word))
                    T.buffer_store(self.registers, self.memory[self.loops.span(T.Bind(first), loaded)], [span])

    def finish(self, stage: Expr) -> None:
        per_word = WORD_BITS // self.operand.side.bits
        with unrolled(self.pieces) as i:
            rows, piece = self._piece(i)
            chunk, inside = self.loops.split(rows, CHUNK_WORDS)
            for depth in range(self.words):
                word, which = divmod(depth, per_word)
                first = i * self.words + word
                of_rows = [self.registers[first + row * (self.words // per_word)] for row in range(per_word)]
                value = gathered(of_rows, which)
                if self.operand.side.is_shifted:
                    value = with_signs(value, 1)
                place = self.operand.tile.place(stage, piece * self.words + depth, chunk)
                T.buffer_store(self.shared, value, [T.Bind(place + inside)])

    def _piece(self, i: Expr) -> tuple[Expr, Expr]:
        """Which word of a line a thread's piece is of, and its number along the depth."""
        operand = self.operand
        together = pieces_together(operand.side, operand.depth, operand.sector_bytes)
        rest, low = self.loops.split(i * self.threads + self.thread, together)
        high, rows = self.loops.split(rest, operand.tile.chunks * CHUNK_WORDS)
        return rows, T.Bind(high * together + low)


class AlongDepth(SingleElements):
    """Elements are loaded one by one, where neighbours in memory are in depth: those of neighbouring steps by
    neighbouring threads, of as many rows as a word has elements."""

    @property
    def words(self) -> int:
        return 1

    def _piece(self, i: Expr) -> tuple[Expr, Expr]:
        """Step of the depth, and number of a word of rows."""
        together = math.gcd(self.operand.depth, STEPS_TOGETHER)
        rest, low = self.loops.split(i * self.threads + self.thread, together)
        high, rows = self.loops.split(rest, self.operand.tile.chunks * CHUNK_WORDS)
        return T.Bind(high * together + low), rows


def along_depth(side: Side) -> bool:
    """Whether threads that load single elements go along the depth."""
    return side.factor.access is not None and side.depth_is_side_by_side and not side.lines_are_neighbours


def pieces_together(side: Side, depth: int, sector_bytes: int) -> int:
    """Pieces of rows that neighbouring threads load before they go on with the next rows: a piece of memory, so that
    what they store is in different banks; several where rows begin anywhere in one."""
    width = turned(side)
    is_whole = side.apart is not None and side.apart * side.bytes % sector_bytes == 0
    sectors = 1 if is_whole else BROKEN_SECTORS
    return math.gcd(depth // width, max(1, sectors * sector_bytes * 8 // (width * side.bits)))


def bring(
    operand: LinesOfDepth,
    shared: tirx.Buffer,
    thread: Expr,
    threads: int,
    buffers: Mapping[te.Tensor, tirx.Buffer],
    leaves: Mapping[te.Tensor, Leaf],
    machine: Gpu,
) -> Transport:
    """The best way there is for an operand."""
    access, side = operand.side.factor.access, operand.side
    given = operand, shared, thread, threads, leaves
    if access is None:
        return SingleElements(*given)
    buffer = next(b for tensor, b in buffers.items() if tensor.same_as(access.memory))
    if not side.is_converted and side.together_in_lines == side.chunk:
        if machine.copies_to_shared and not side.is_shifted:
            return AsynchronousCopies(*given, flat(buffer))
        return Vectors(*given, as_words(buffer, side.bits))
    if turned(side) > 1:
        return Turned(*given, as_words(buffer, side.bits))
    return (AlongDepth if along_depth(side) else SingleElements)(*given)
