"""The register tile of a thread: what the inner loop of a matrix product or a convolution keeps and does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops


class RegisterTile:
    """``sums[i, j] += a[i] * b[j]``, `rows` by `columns` sums of one thread, by an instruction of its warp.

    The sums are a buffer of scope "local", which is registers as long as all loops over it are unrolled.
    """

    def __init__(self, instruction: MultiplyAdd, rows: int, columns: int) -> None:
        """Allocates sums and operands in the current frame. Raises ValueError for an instruction on matrices."""
        if instruction.m != 1 or instruction.k != 1 or instruction.intrinsic is not None:
            raise ValueError(f"{instruction.name} is no multiply-add of single elements")
        self.rows, self.columns = rows, columns
        self.sums: tirx.Buffer = T.alloc_buffer((rows * columns,), instruction.accumulator, scope="local")
        self.a: tirx.Buffer = T.alloc_buffer((rows,), instruction.a, scope="local")
        """The operands of a step, to be written before it."""
        self.b: tirx.Buffer = T.alloc_buffer((columns,), instruction.b, scope="local")
        self._start = tirx.const(0, instruction.accumulator)

    def clear(self) -> None:
        """Sets all sums to 0."""
        with unrolled(self.rows * self.columns) as i:
            T.buffer_store(self.sums, self._start, [i])

    def step(self) -> None:
        """One multiply-add for each sum."""
        with unrolled(self.rows) as i, unrolled(self.columns) as j:
            place = i * self.columns + j
            T.buffer_store(self.sums, self.sums[place] + self.a[i] * self.b[j], [place])

    def __getitem__(self, position: tuple[Expr, Expr | int]) -> Expr:
        """A sum, by row and column."""
        i, j = position
        return self.sums[i * self.columns + j]


@contextmanager
def unrolled(extent: int) -> Iterator[Expr]:
    """A loop that the device's compiler unrolls."""
    with Loops().each(extent, T.unroll) as i:
        yield i
