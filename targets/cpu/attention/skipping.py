"""Skips blocks of keys that a mask leaves no weight, and changes no bit of the result.

A weight is ``exp(score - largest)``, largest that of the query's scores: exactly 0 in float32 where the difference is
below -104. `Summary` has, of the scores that products of 0 would have, the highest ``h`` of a block of keys, and for
the query that has it worst its own highest, ``l``. `Reach` bounds by how much products move a score, ``r``. So a score
of the block is at most ``h + r``, the largest of each query at least ``l - r``, and where ``h + 2 r + 104 < l`` all
weights of the block are 0: left out, they are missing in no maximum, and what is missing in sums is 0, and products of
0. Those are 0 for what is finite; heads with infinities or NaN are computed whole. So are queries all of whose keys
are removed alike: they have no key so far above the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim
from dsc.targets.cpu.attention.elements import Elements
from dsc.targets.cpu.attention.keys import Blocks, Runs
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.attention.reach import Reach
from dsc.targets.cpu.attention.summary import Summary
from dsc.targets.tir.loops import Kind, Loops


class Skipping:
    """Decides for the tasks of one call."""

    def __init__(
        self, masking: Masking, elements: Elements, loops: Loops, blocks: Blocks, tiles: Dim, lanes: int
    ) -> None:
        """Allocates what is kept in the current frame.

        blocks: of keys; tiles: how many blocks of queries there are.
        """
        self._by_query, self._blocks = masking.by_query, blocks
        self._summary = Summary(masking, elements, loops, blocks, tiles, lanes)
        self._reach = Reach(masking, elements, loops, lanes)

    def write(self, kind: Kind) -> None:
        """What goes before the tasks. kind: of its loops."""
        self._summary.write(kind)
        self._reach.write(self._summary, kind)

    def present(self, head: Expr, batch: Sequence[Expr], tile: Expr, query: Callable[[Expr], Expr]) -> Runs:
        """The keys that a task computes.

        head: `batch` as a number; tile: its block of queries; query: which each of them is.
        """
        first = self._summary.first(batch)
        mask = first + tile if self._by_query else first
        reach = self._reach.of(head, batch, self._blocks.rows, query)
        runs = Runs(self._blocks)
        runs.find(tile, lambda block: tirx.Not(self._summary.removed(mask, block, reach)))
        return runs
