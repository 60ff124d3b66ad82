"""From memory in which neighbours are from line to line to shared memory in which they are neighbours in depth, where
nothing reads them transposed there: by pairs of lines, transposed in registers."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.operand import Operand
from dsc.targets.gpu.matrix.side import PAIR, WORD_BITS, joined
from dsc.targets.gpu.matrix.tiling import BANKED_CHUNKS, CHUNK_WORDS
from dsc.targets.gpu.matrix.transport import WORD, ThroughRegisters
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, when


class TransposedPairs(ThroughRegisters):
    """A thread loads, for each step of a chunk's depth, the elements of two neighbouring lines at once (a word of
    memory), and stores a chunk of each. Neighbouring threads have neighbouring pairs of lines."""

    @staticmethod
    def suits(operand: Operand, threads: int) -> bool:
        """Whether lines lie so in memory, and threads have as many pairs of chunks as one another."""
        side, tile = operand.side, operand.tile
        return (
            not operand.transposed
            and side.bits * PAIR == WORD_BITS
            and side.together_in_lines >= PAIR > side.together_in_depth
            and tile.lines * tile.chunks % (PAIR * threads) == 0
        )

    def begin(self, step: Expr, stage: Expr) -> None:
        operand, depth = self.operand, self.operand.side.chunk
        access = operand.side.factor.access
        assert access is not None
        with unrolled(self.each // PAIR) as i, unrolled(depth) as t:
            line, chunk = self._pair(i)
            place = operand.coordinates(step, line, chunk * depth + t)
            inside = operand.is_inside(access, *place)
            if inside is not None:
                T.buffer_store(self.registers, tirx.const(0, WORD), [i * depth + t])
            with when(inside):
                position = T.Bind(tirx.floordiv(operand.position(access, *place), self.loops.const(PAIR)))
                T.buffer_store(self.registers, self.memory[position], [i * depth + t])

    def finish(self, stage: Expr) -> None:
        """Of eight threads that store together, four begin with their second lines, which are in other banks."""
        depth, own = self.operand.side.chunk, Loops()
        words = T.alloc_buffer((CHUNK_WORDS,), WORD, scope="local")
        with unrolled(self.each // PAIR) as i:
            line, chunk = self._pair(i)
            swapped = T.Bind(tirx.floormod(tirx.floordiv(line, BANKED_CHUNKS), PAIR))
            is_swapped = tirx.NE(swapped, self.loops.const(0))
            for turn in range(PAIR):
                for word in range(CHUNK_WORDS):
                    first = i * depth + word * PAIR
                    both = [joined(self.registers[first], self.registers[first + 1], which) for which in range(PAIR)]
                    T.buffer_store(words, tirx.Select(is_swapped, both[1 - turn], both[turn]), [word])
                which = swapped if turn == 0 else 1 - swapped
                place = T.Bind(self.operand.tile.place(stage, line + which, chunk))
                span = self.loops.span(place, CHUNK_WORDS)
                T.buffer_store(self.shared, words[own.span(0, CHUNK_WORDS)], [span])

    def _pair(self, i: Expr) -> tuple[Expr, Expr]:
        """The first line of a thread's pair, and the number of the chunk."""
        chunk, pair = self.loops.split(i * self.threads + self.thread, self.operand.tile.lines // PAIR)
        return T.Bind(pair * PAIR), chunk
