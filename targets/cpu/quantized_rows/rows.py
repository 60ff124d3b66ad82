"""Rows of activations as bytes: copies that each task makes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.gemm.frame import Frame, Place, Task
from dsc.targets.cpu.gemm.operands import Operands, Row, Rows
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.cpu.quantized_rows.quantize import Copies, Quantizer
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops


@dataclass(frozen=True)
class RowOfBytes:
    """One of the bytes of each activation of a row: a `Row`."""

    copies: Copies
    row: Expr
    part: int
    neighbours: int

    def __call__(self, step: Expr, count: int) -> Expr:
        """The bytes of so many steps of the depth."""
        places = Loops().span(step * self.neighbours, count * self.neighbours)
        return self.copies.bytes[self.row, self.part, places]

    def step_of(self, group: Expr) -> Expr:
        """What one more in a group stands for."""
        return self.copies.steps[self.row, group]

    def sum_of(self, group: Expr) -> Expr:
        """Of a group, in steps."""
        assert self.copies.sums is not None  # there are zero points
        return self.copies.sums[self.row, group]


class QuantizedOperands(Operands):
    """Writes the copies of a task."""

    def __init__(self, problem: ByteProduct, frame: Frame, instruction: MultiplyAdd) -> None:
        """instruction: that which multiplies the bytes."""
        super().__init__(frame)
        self.problem, self.neighbours = problem, instruction.k

    def rows(self, task: Task) -> Rows:
        """Quantizes the rows of a task; of each row of a tile it gives the row of its highest bytes, then the next."""
        tiling, problem = self.tiling, self.problem
        count = tiling.rows * (tiling.block if tiling.by_rows else self.frame.row_tiles)
        copies = Copies.of(problem, count, self.neighbours)
        quantizer = Quantizer(problem, copies, self.loops, tiling.lanes)
        last = self.loops.const(self.source.m) - 1
        with self.loops.each(task.count * tiling.rows) as i:
            row = T.Bind(tirx.min(task.first * tiling.rows + i, last))
            quantizer.row(self.element_of_a(task, row), i)

        def rows(place: Place, wanted: Sequence[Expr], ragged: bool) -> list[Row]:
            first = T.Bind(place.tile * tiling.rows)
            parts = [(first + row, part) for row in range(len(wanted)) for part in range(problem.bytes)]
            return [RowOfBytes(copies, row, part, self.neighbours) for row, part in parts]

        return rows
