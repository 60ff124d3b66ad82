"""The keys of a step as a tile in shared memory."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.ir import Expr

from dsc.targets.gpu.matrix.operand import Operand
from dsc.targets.gpu.matrix_attention.chain import Chain


@dataclass(frozen=True)
class Keys(Operand):
    """A tile whose steps go from line to line, and whose lines are in the order in which their scores are wanted."""

    chain: Chain

    def coordinates(self, step: Expr, line: Expr, element: Expr) -> tuple[Expr, Expr]:
        """Key and place in the head. (Where lines of memory are neighbours in a chunk, the order is theirs: types that
        are read transposed are those whose lanes have neighbours alike.)"""
        across, depth = (element, line) if self.transposed else (line, element)
        assert not self.transposed or self.chain.is_in_order
        return self.loops.bind(step * self.corner.lines + self.chain.ordered(across)), self.loops.bind(depth)
