"""The frame of the kernels that compute a contraction tile by tile: parameters, and the tile of each block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, product
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.launch import launch
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.tiling import Tiling
from dsc.targets.tir.loops import Loops, argument, function


class TileWriter(ABC):
    """Writes the function that computes the contraction of two factors; what a block does is left to say."""

    def __init__(self, source: Contraction, sides: tuple[Side, Side], tiling: Tiling, machine: Gpu) -> None:
        self.source, self.sides, self.tiling, self.machine = source, sides, tiling, machine
        self.loops = Loops.over(self.source.params)
        self.depth = tiling.chunks * sides[0].chunk
        """Elements of a step."""
        self.steps = ceildiv(self.source.k, self.depth)

    def written(self) -> tirx.PrimFunc:
        """The function."""
        with function() as made:
            self._write()
        return made.get()

    @abstractmethod
    def block(self, batch: Sequence[Expr], row: Expr, column: Expr, thread: Expr, threads: int) -> None:
        """The code of one of the `threads` of the block whose tile begins at `row` and `column`."""

    def _write(self) -> None:
        """Declares the parameters and writes the kernel."""
        source, tiling, loops = self.source, self.tiling, self.loops
        self.buffers = {t: argument(f"in{i}", t.shape, t.dtype) for i, t in enumerate(source.params)}
        for scalar in source.scalars:
            T.arg(scalar.name, scalar)
        self.outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(source.outputs)]
        loops.assume(source.assumed)
        down, across = ceildiv(source.m, tiling.rows), ceildiv(source.n, tiling.columns)
        threads = tiling.warps * self.machine.warp
        with launch(product(source.batch) * down * across, threads, loops) as (index, thread):
            batch, row, column = self.place(index, down, across)
            at = loops.unravel(batch, source.batch) if source.batch else []
            self.block(at, T.Bind(row * tiling.rows), T.Bind(column * tiling.columns), thread, threads)

    def place(self, index: Expr, down: Dim, across: Dim) -> tuple[Expr, Expr, Expr]:
        """Batch, and row and column among its tiles, of the block of an index."""
        rest, column = self.loops.split(index, across)
        return *self.loops.split(rest, down), column
