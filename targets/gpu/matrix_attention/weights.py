"""Weights in the registers of a product as an operand of the next."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.launch import ALL_LANES
from dsc.targets.gpu.matrix_attention.chain import Chain
from dsc.targets.gpu.matrix_attention.sides import Rounded
from dsc.targets.gpu.matrix_attention.softmax import Sums
from dsc.targets.tir.loops import Loops

Source = tuple[tuple[int, int], ...]
"""For each element of a word, which matrix of a unit and which register of that it comes from."""


class Weights:
    """Rounds them, and has lanes exchange them where all that share a query need the same."""

    def __init__(self, chain: Chain, rounded: Rounded, lane: Expr, loops: Loops) -> None:
        self.chain, self.rounded, self.lane, self.loops = chain, rounded, lane, loops

    def operand(self, weights: Sums, down: Expr, unit: Expr, operand: int, to: tirx.Buffer, at: Expr) -> None:
        """Writes the registers of an operand of a unit, from `at` on."""
        chain = self.chain
        words = list[tuple[Source, int]]()
        for word in range(chain.fragments.words):
            elements = range(word * chain.per_word, (word + 1) * chain.per_word)
            found = [chain.source(operand, element) for element in elements]
            words.append((tuple(source[:2] for source in found), found[0][2]))
        own = {source: self._word(weights, down, unit, source, to.dtype) for source, _ in words}
        for word, (source, owner) in enumerate(words):
            T.buffer_store(to, self._of(owner, own[source]) if chain.is_shared else own[source][0], [at + word])
        chain.fragments.round_operand(to, at)

    def _word(self, weights: Sums, down: Expr, unit: Expr, source: Source, dtype: str) -> tirx.Buffer:
        """A lane's own, and what the other lane of its query has there."""
        per_unit = self.chain.unit // self.chain.across
        values = [
            weights.registers[weights.first(down, unit * per_unit + matrix) + register] for matrix, register in source
        ]
        made = T.alloc_buffer((2,), dtype, scope="local")
        T.buffer_store(made, self.rounded.word(values, dtype), [0])
        if self.chain.is_shared:
            _, apart = self.chain.sharers
            warp, mask = self.chain.warp, tirx.const(ALL_LANES, "uint32")
            T.buffer_store(made, T.tvm_warp_shuffle_xor(mask, made[0], apart, warp, warp), [1])
        return made

    def _of(self, owner: int, word: tirx.Buffer) -> Expr:
        """The word of that one of the lanes which share a query."""
        count, apart = self.chain.sharers
        rank = tirx.floormod(tirx.floordiv(self.lane, self.loops.const(apart)), self.loops.const(count))
        return tirx.Select(tirx.EQ(rank, self.loops.const(owner)), word[0], word[1])
