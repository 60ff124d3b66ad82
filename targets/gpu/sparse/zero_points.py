"""What the zero points of the left factor take off of sums: those of a row times what an output's weights add up to.

``sum over k of (a - z) w`` is the sum of ``a w`` less ``z`` times that of ``w``, which is known when the weight is
packed.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix.centering import WIDE
from dsc.targets.gpu.matrix.results import WarpTile
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.sparse.tiling import Registers, SparseTiling
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops


@dataclass(frozen=True)
class ZeroPoints:
    """Takes them off."""

    side: Side
    """The left factor."""
    weights: tirx.Buffer
    """What the weights of each output add up to, of those beyond the last as well."""
    elements: Elements
    loops: Loops

    def apply(self, sums: tirx.Buffer, tiling: SparseTiling, by: Registers, at: WarpTile) -> None:
        """Off of the sums of a warp's part of the result."""
        down, across = tiling.warp_rows // by.rows, tiling.warp_columns // by.columns
        with unrolled(down) as i, unrolled(across) as j:
            for register in range(by.sums):
                row, column = by.position(at.lane, register)
                of_weights = self.weights[T.Bind(at.column + j * by.columns + column)].astype(WIDE)
                place = (i * across + j) * by.sums + register
                taken = self._origin(at, at.row + i * by.rows + row) * of_weights
                T.buffer_store(sums, (sums[place].astype(WIDE) - taken).astype(by.accumulator), [place])

    def _origin(self, at: WarpTile, row: Expr) -> Expr:
        """The zero point of a row, or of the last one for those beyond it."""
        bounded = T.Bind(tirx.min(row, self.loops.const(self.side.extent) - 1))
        with self.elements.scope():
            lines = self.loops.unravel(bounded, self.side.lines)
            return self.side.origin_at(self.elements, [*at.batch, *lines]).astype(WIDE)
