"""The code of a product by a weight of few bits: that of `cpu.gemm`, with floats made of words where it reads them.

Where few rows are multiplied, that is done in registers: sums are taken for each group by itself, and multiplied by its
scale at the end. Where there are many, each task makes floats of a panel first, and multiplies all of its rows by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.gemm.code import Multiply, Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Task
from dsc.targets.cpu.gemm.operands import Row
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.tile import RegisterTile, Tile
from dsc.targets.cpu.weight_only.problem import WeightOnlyProduct
from dsc.targets.cpu.weight_only.weights import Weights
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import function


def write(
    problem: WeightOnlyProduct, tiling: Tiling, instruction: MultiplyAdd, packed: Packed, in_registers: bool
) -> tirx.PrimFunc:
    """The function that computes `problem`; its floats stay in registers, or are made a panel at a time."""
    kind = _InRegisters if in_registers else _InPanels
    with function() as made:
        kind(problem, Frame(problem.product, tiling, instruction, packed)).tasks()
    return made.get()


class _InRegisters(Writer):
    """Few rows: no float is stored."""

    def __init__(self, problem: WeightOnlyProduct, frame: Frame) -> None:
        super().__init__(frame)
        self.problem = problem

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Multiplies by the words as they are."""
        weights = Weights(self.problem, self.frame, panel)
        return lambda tile, rows: self._groups(tile, rows, weights)

    def _groups(self, tile: Tile, rows: Sequence[Row], weights: Weights) -> None:
        """The sums of each group, times its scales."""
        tiling = self.tiling
        assert isinstance(tile, RegisterTile)  # of a row and vectors, as those of floats are

        def of_group(group: Expr, size: int) -> None:
            part = RegisterTile(self.instruction, tiling.rows, tiling.columns, tiling.lanes)
            part.clear()
            zeros = weights.zeros(group)
            weights.each_word(group, size, lambda word, count: self._word(part, rows, weights, word, count, zeros))
            scales = weights.scales(group)
            for i in range(tiling.rows):
                for v in range(len(tile.vectors)):
                    tile.multiply_add(i, v, part[i, v], scales[v])

        weights.each_group(of_group)

    def _word(
        self, part: RegisterTile, rows: Sequence[Row], weights: Weights, word: Expr, count: int,
        zeros: Sequence[Expr] | None,
    ) -> None:  # fmt: skip
        """The steps of the depth that are in one row of words."""
        words, first = weights.words(word), word * self.problem.in_a_word

        def floats(start: int, lane: int) -> list[Expr]:
            return [weights.floats(vector, start + lane, v, zeros) for v, vector in enumerate(words)]

        together = self.tiling.depth if count % self.tiling.depth == 0 else 1
        for start in range(0, count, together):
            part.steps([row(first + start, together) for row in rows], partial(floats, start))


class _InPanels(Writer):
    """Many rows: each task makes floats of a panel in memory of its own."""

    def __init__(self, problem: WeightOnlyProduct, frame: Frame) -> None:
        super().__init__(frame)
        self.problem = problem

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Makes the floats, and multiplies by them."""
        floats = self._floats(Weights(self.problem, self.frame, panel))
        return lambda tile, rows: self.multiply(tile, rows, lambda k, column: floats[k, column])

    def _floats(self, weights: Weights) -> tirx.Buffer:
        scratch = T.alloc_buffer((self.problem.depth, self.tiling.columns), "float32")

        def of_group(group: Expr, size: int) -> None:
            scales, zeros = weights.scales(group), weights.zeros(group)

            def of_word(word: Expr, count: int) -> None:
                for v, vector in enumerate(weights.words(word)):
                    for place in range(count):
                        value = weights.floats(vector, place, v, zeros) * scales[v]
                        T.buffer_store(scratch, value, [word * self.problem.in_a_word + place, weights.span(v)])

            weights.each_word(group, size, of_word)

        weights.each_group(of_group)
        return scratch
