"""The code of a contraction by ``wgmma``: a block computes a tile of the result, each of its warpgroups 64 rows of it.

The steps of the depth are brought to shared memory as for other instructions on matrices, but the instructions read
there themselves, and go on while the warps do something else: those of one step are still at work when warps meet for
the next one. So what is brought then goes to the place of the step before both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim
from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.launch import DYNAMIC
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Corner
from dsc.targets.gpu.matrix.pipeline import Pipeline
from dsc.targets.gpu.matrix.results import Results, WarpTile
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.tiling import WORD_BYTES, Tiling
from dsc.targets.gpu.matrix.transport import WORD, transport
from dsc.targets.gpu.matrix.writer import TileWriter
from dsc.targets.gpu.tile import unrolled
from dsc.targets.gpu.warpgroup_matrix import instruction
from dsc.targets.gpu.warpgroup_matrix.instruction import DEPTH, ROWS, WARPS, Wgmma
from dsc.targets.gpu.warpgroup_matrix.panels import ALIGNMENT, PanelOperand
from dsc.targets.tir.loops import Kind

GROUP = 8
"""Tiles one below the other that blocks take before they go on to the right: those at work at once then share the rows
of one factor as well as the columns of the other, and L2 has to hold less."""
ROLLED: Kind = partial(T.serial, annotations={"disable_unroll": True})
"""A loop that compilers do not unroll: a step's products keep tensor cores busy for a thousand cycles, and code of many
steps takes ptxas ten times as long."""
READING = 1
"""Steps before the current one whose instructions may be at work."""


def write(
    source: Contraction,
    sides: tuple[Side, Side],
    transposed: tuple[bool, bool],
    tiling: Tiling,
    by: Wgmma,
    machine: Gpu,
) -> tirx.PrimFunc:
    """The function that computes the contraction of two factors.

    transposed: of either, whether it goes to shared memory from line to line."""
    return _Writer(source, sides, transposed, tiling, by, machine).written()


class _Writer(TileWriter):
    def __init__(
        self,
        source: Contraction,
        sides: tuple[Side, Side],
        transposed: tuple[bool, bool],
        tiling: Tiling,
        by: Wgmma,
        machine: Gpu,
    ) -> None:
        super().__init__(source, sides, tiling, machine)
        self.transposed, self.by = transposed, by

    def place(self, index: Expr, down: Dim, across: Dim) -> tuple[Expr, Expr, Expr]:
        """Groups of tiles one below the other, from left to right, then the groups below."""
        if not isinstance(down, int) or down % GROUP:
            return super().place(index, down, across)
        rest, low = self.loops.split(index, GROUP)
        rest, column = self.loops.split(rest, across)
        batch, high = self.loops.split(rest, down // GROUP)
        return batch, T.Bind(high * GROUP + low), column

    def block(self, batch: Sequence[Expr], row: Expr, column: Expr, thread: Expr, threads: int) -> None:
        tiling, inputs = self.tiling, leaves(self.buffers)
        words = tiling.shared_bytes(self.by) // WORD_BYTES
        shared = T.alloc_buffer((words,), WORD, scope=DYNAMIC, align=ALIGNMENT)
        left = self._operand(0, Corner(batch, row, tiling.rows), 0)
        right = self._operand(1, Corner(batch, column, tiling.columns), tiling.stages * left.tile.words)
        ways = [
            transport(operand, shared, thread, threads, self.buffers, inputs, self.machine) for operand in (left, right)
        ]
        warp, lane = self.loops.split(thread, self.machine.warp)
        sums = T.alloc_buffer((self.by.registers,), self.source.acc.dtype, scope="local")
        with unrolled(self.by.registers) as i:
            T.buffer_store(sums, tirx.const(0, str(sums.dtype)), [i])
        first_line = tirx.floordiv(warp, WARPS) * ROWS
        descriptors = left.descriptor(shared, first_line), right.descriptor(shared, self.loops.const(0))
        pipeline = Pipeline(
            self.machine, self.steps, tiling.stages, [ways], self.loops, READING, instruction.publish, ROLLED
        )
        pipeline.begin()
        pipeline.run(lambda _, stage: self._multiply(sums, (left, right), descriptors, stage))
        instruction.wait(0)
        pipeline.finish()
        none = self.loops.const(0)
        at = WarpTile(batch, T.Bind(row + warp * self.by.rows), column, none, warp, lane)
        sector = self.machine.sector_bytes
        results = Results(self.source, tiling, self.by, self.buffers, self.outputs, self.loops, sector)
        results.store(sums, shared, at, self.machine.warp)

    def _operand(self, which: int, corner: Corner, base: int) -> PanelOperand:
        side, transposed, sector = self.sides[which], self.transposed[which], self.machine.sector_bytes
        return PanelOperand(side, corner, self.depth, transposed, self.loops, base, sector_bytes=sector)

    def _multiply(
        self,
        sums: tirx.Buffer,
        operands: tuple[PanelOperand, PanelOperand],
        descriptors: tuple[Expr, Expr],
        stage: Expr,
    ) -> None:
        """Starts the products of one step, and waits for those of the step before."""
        (left, right), (a, b) = operands, descriptors
        a, b = left.of_stage(a, stage), right.of_stage(b, stage)
        instruction.begin()
        for piece in range(self.depth // DEPTH):
            self.by.multiply(sums, left.of_piece(a, piece), right.of_piece(b, piece), self.transposed)
        instruction.commit()
        instruction.wait(READING)
