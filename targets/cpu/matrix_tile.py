"""The register tile of instructions that multiply small matrices, as Arm's smmla: several rows at once."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.tile import Tile, reinterpreted
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, zeros


def most_stacked_rows(instruction: MultiplyAdd, vectors: int, registers: int) -> int:
    """Rows of the largest tile of so many vectors of ``m * n`` sums, a multiple of `m`.

    It leaves registers for all its elements of `a` in a step, for one vector's of `b`, and for two that are loaded
    ahead.
    """
    stacks = (registers - instruction.m - 2) // (vectors * instruction.m + 1)
    return stacks * instruction.m


class MatrixTile(Tile):
    """Sums of instructions that hold `m` rows and `n` columns of them in a register.

    They are in rows when `finish` has put them there. What `step` takes of `a` is a vector for each `m` rows: the `k`
    elements of the first, then those of the next.
    """

    def __init__(self, instruction: MultiplyAdd, rows: int, columns: int, lanes: int | None = None) -> None:
        """Allocates the sums in the current frame.

        lanes: sums in a vector of a row, when they are in rows: ``m * n`` if not given. `rows` is a multiple of `m`,
        `columns` one of `lanes`; raises ValueError otherwise.
        """
        m, n = instruction.m, instruction.n
        self._lanes = lanes or m * n
        if rows % m or columns % self._lanes or self._lanes % n:
            raise ValueError(f"{instruction.name} is of {m} x {n} sums: {rows} x {columns} are no such matrices")
        super().__init__(instruction, rows, columns, n)
        self._matrices: tirx.Buffer = T.alloc_buffer(
            (rows // m, len(self.vectors) * m * n), instruction.accumulator, scope="local"
        )

    def clear(self) -> None:
        """Sets all sums to 0."""
        size = self.instruction.m * self.instruction.n
        for stack in range(self.rows // self.instruction.m):
            for v in range(len(self.vectors)):
                self._put_matrix(stack, v, zeros(size, self.instruction.accumulator))

    def step(self, a: Sequence[Expr], b: Sequence[Expr]) -> None:
        """One instruction for each matrix of sums. Vectors of `b` come one after the other: those of `a` are fewer."""
        for v, right in enumerate(b):
            for stack, left in enumerate(a):
                self.multiply_add(stack, v, left, right)

    def multiply_add(self, i: int, v: int, a: Expr, b: Expr) -> None:
        """One instruction, on the matrix of sums of stack `i` and of the columns of vector `v`."""
        row = self.instruction
        operands = [
            reinterpreted(a, f"{row.a}x{row.m * row.k}"), reinterpreted(b, f"{row.b}x{row.n * row.k}")
        ]  # fmt: skip
        result = f"{row.accumulator}x{row.m * row.n}"
        self._put_matrix(i, v, tirx.call_llvm_pure_intrin(result, row.intrinsic, self.matrix(i, v), *operands))

    def matrix(self, stack: int, v: int) -> Expr:
        """The sums of some rows and columns, row by row."""
        return self._matrices[tuple(self._at(stack, v))]

    def finish(self) -> None:
        """Puts the sums in rows."""
        m, n = self.instruction.m, self.instruction.n
        together = self._lanes // n
        for i in range(self.rows):
            first = i % m * n
            places = [tirx.const(each * m * n + first + j, "int32") for each in range(together) for j in range(n)]
            for v in range(0, len(self.vectors), together):
                matrices = [self.matrix(i // m, v + each) for each in range(together)]
                at = [i, Loops().span(self.vectors[v][0], self._lanes)]
                T.buffer_store(self.sums, tirx.Shuffle(matrices, places), at)

    def _put_matrix(self, stack: int, v: int, value: Expr) -> None:
        T.buffer_store(self._matrices, value, self._at(stack, v))

    def _at(self, stack: int, v: int) -> list[Expr | int]:
        size = self.instruction.m * self.instruction.n
        return [stack, Loops().span(v * size, size)]
