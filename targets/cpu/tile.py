"""The register tile: what the inner loop of a matrix product, a convolution or attention keeps and does.

A tile knows its instruction by the row that describes it, and no processor and no type of element.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, pieces, spread, zeros


def most_rows(instruction: MultiplyAdd, vectors: int, registers: int, lanes_of_a: bool = False) -> int:
    """Rows of the largest tile that leaves registers for one row of `b` and one element of `a`.

    And for one product, where the instruction does not add it to the sum itself. Where lanes of `a` are operands, its
    elements are a vector for each row; two registers are left for those that LLVM loads ahead, in pairs.
    """
    free = registers - vectors - (0 if instruction.accumulates else 1)
    return (free - 2) // (vectors + 1) if lanes_of_a else (free - 1) // vectors


class Tile(ABC):
    """``sums[i, :] += sum over k of a[i, k] * b[k, :]`` in registers, by one multiply-add instruction.

    The sums are a buffer of scope "local", which is registers as long as all its indices are constants. That tiles
    fit the machine's registers is for the kernel to see to.
    """

    def __init__(self, instruction: MultiplyAdd, rows: int, columns: int, lanes: int) -> None:
        """Allocates the sums in the current frame. lanes: sums in a vector of a row; fewer in a last one."""
        self.instruction, self.rows = instruction, rows
        self.vectors = tuple(pieces(columns, lanes))
        """First column, and lanes, of each vector of a row."""
        self.sums: tirx.Buffer = T.alloc_buffer((rows, columns), instruction.accumulator, scope="local")
        """Rows by columns. Whoever is done adding may use it for what becomes of the sums; constant indices only."""

    @abstractmethod
    def clear(self) -> None:
        """Sets all sums to 0."""

    @abstractmethod
    def step(self, a: Sequence[Expr], b: Sequence[Expr]) -> None:
        """One step of the depth: `a` of all rows, and the vectors of `b`."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the adding: before it, sums may be in another order."""

    def steps(self, a: Sequence[Expr], b: Callable[[int], Sequence[Expr]]) -> None:
        """One step, or several with instructions that take one lane of a register for all lanes.

        a: for each row what its steps multiply, side by side in a vector. b: the vectors of each step.
        """
        k = self.instruction.k
        count = a[0].ty.dtype.lanes // k
        if count == 1:
            self.step(a, b(0))
            return
        vectors = [T.Bind(reinterpreted(row, f"int{k * row.ty.dtype.bits}x{count}") if k > 1 else row) for row in a]
        for lane in range(count):
            self.step([tirx.Shuffle([row], [tirx.const(lane, "int32")]) for row in vectors], b(lane))

    def __getitem__(self, position: tuple[int, int]) -> Expr:
        """A vector of sums, by row and vector."""
        i, v = position
        return self.sums[i, Loops().span(*self.vectors[v])]

    def store(self, buffer: tirx.Buffer, row: Callable[[int], Sequence[Expr | int]], loops: Loops) -> None:
        """Writes all sums to memory: those of row `i` to ``buffer[*row(i), 0 : columns]``."""
        for i in range(self.rows):
            for v, (start, lanes) in enumerate(self.vectors):
                T.buffer_store(buffer, self[i, v], [*row(i), loops.span(start, lanes)])


class RegisterTile(Tile):
    """Rows by vectors of an instruction that multiplies one row by a vector."""

    def __init__(self, instruction: MultiplyAdd, rows: int, columns: int, lanes: int | None = None) -> None:
        """Allocates the sums in the current frame.

        lanes: sums in a vector, as many as the instruction has if not given. Fewer, in all vectors or where a last one
        is left over, are for instructions that plain arithmetic becomes. Raises ValueError for others.
        """
        lanes = lanes or instruction.n
        if instruction.m != 1:
            raise ValueError(f"{instruction.name} multiplies matrices, not a row by a vector")
        if instruction.intrinsic is not None and any(count != instruction.n for _, count in pieces(columns, lanes)):
            raise ValueError(f"{instruction.name} has {instruction.n} lanes: {columns} columns are no such vectors")
        super().__init__(instruction, rows, columns, lanes)

    def clear(self) -> None:
        """Sets all sums to 0."""
        self.begin([zeros(lanes, self.instruction.accumulator) for _, lanes in self.vectors])

    def begin(self, vectors: Sequence[Expr]) -> None:
        """Sets the sums of each row to these vectors."""
        for i in range(self.rows):
            for v, vector in enumerate(vectors):
                self.put(i, v, vector)

    def step(self, a: Sequence[Expr], b: Sequence[Expr]) -> None:
        """One instruction for each vector.

        a: for each row what all its vectors are multiplied by: one element, or a vector of the instruction's `k`
        neighbours. b: the vectors of the panel, in each lane the `k` elements that belong to one sum.
        """
        for i in range(self.rows):
            for v, (_, lanes) in enumerate(self.vectors):
                self.multiply_add(i, v, self.in_lanes(a[i], lanes), b[v])

    def multiply_add(self, i: int, v: int, a: Expr, b: Expr) -> None:
        """One instruction: ``sums[i, v] += a * b``, of vectors."""
        row = self.instruction
        if row.intrinsic is None:
            self.put(i, v, self[i, v] + a * b)
            return
        elements = row.n * row.k
        operands = [reinterpreted(a, f"{row.a}x{elements}"), reinterpreted(b, f"{row.b}x{elements}")]
        if row.a == row.b:  # either way is the same, and of two vectors LLVM takes the last for lanes of a register
            operands.reverse()
        result = f"{row.accumulator}x{row.n}"
        if row.accumulates:
            self.put(i, v, tirx.call_llvm_pure_intrin(result, row.intrinsic, self[i, v], *operands))
        else:
            self.put(i, v, self[i, v] + tirx.call_llvm_pure_intrin(result, row.intrinsic, *operands))

    def finish(self) -> None:
        """Nothing: sums are in rows all the time."""

    def put(self, i: int, v: int, value: Expr) -> None:
        """Sets one vector of sums."""
        T.buffer_store(self.sums, value, [i, Loops().span(*self.vectors[v])])

    def in_lanes(self, a: Expr, lanes: int) -> Expr:
        """An element `a` in every lane; neighbours stay together, as one integer of their size."""
        k = self.instruction.k
        if k == 1:
            return spread(a, lanes)
        return spread(reinterpreted(a, f"int{a.ty.dtype.lanes * a.ty.dtype.bits}"), lanes)


def as_elements(vector: Expr, element: str) -> Expr:
    """The same numbers in a type as wide or wider."""
    lanes = vector.ty.dtype.lanes
    wanted = element if lanes == 1 else f"{element}x{lanes}"
    return vector if str(vector.ty) == wanted else vector.astype(wanted)


def reinterpreted(value: Expr, dtype: str) -> Expr:
    """The same bits as another type."""
    return value if str(value.ty) == dtype else tirx.reinterpret(dtype, value)
