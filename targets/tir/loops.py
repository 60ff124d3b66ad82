"""Loop nests in TIR, written as they run, by kernels of any backend.

Kernels here want what schedules of tensor expressions do not say: tiles that overlap at a ragged end instead of
predicates, scratch that a task fills once, accumulators that are certainly registers. So they write statements, which
go to the innermost open frame of TVM's IR builder: ``with loops.each(n) as i:`` is a loop, ``with when(c):`` a branch,
`T.buffer_store` a statement in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from tvm import sym, te, tirx
from tvm.ir import Expr, Range
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, dims, product

Kind: TypeAlias = Callable[[Expr, Expr], AbstractContextManager[Expr]]
"""How a loop runs: `T.serial`, `T.parallel`, `T.vectorized`, `T.unroll`."""


@contextmanager
def function() -> Iterator[IRBuilder]:
    """A function whose parameters and statements follow; the builder gives it (`get`) once it is complete.

    Its buffers do not overlap.
    """
    with IRBuilder() as builder, T.prim_func(private=True, s_tir=True):
        T.func_attr({"tirx.noalias": True})
        yield builder


def argument(name: str, shape: Sequence[Dim], dtype: str) -> tirx.Buffer:
    """The next parameter, a tensor."""
    return T.arg(name, T.buffer(shape, dtype))


def flat(buffer: tirx.Buffer) -> tirx.Buffer:
    """The same memory as one long array."""
    return T.decl_buffer((product(dims(buffer.shape)),), buffer.dtype, data=buffer.data)


@dataclass(frozen=True)
class Loops:
    """Loops, and indices in the integer types that tensor expressions have."""

    dtype: str = "int32"
    """Of loops of known extent, and of numbers; what depends on a symbolic size is int64, as those are."""

    @staticmethod
    def over(tensors: Sequence[te.Tensor]) -> Loops:
        """All in the type of the indices of placeholders `tensors`: int64 if a dim is symbolic."""
        symbolic = any(isinstance(d, Expr) for tensor in tensors for d in dims(tensor.shape))
        return Loops("int64" if symbolic else "int32")

    def const(self, value: Dim) -> Expr:
        """`value` as an expression."""
        return tirx.const(value, self.dtype) if isinstance(value, int) else value

    def bind(self, value: Dim) -> Expr:
        """`value` in a variable: computed once, where an inner loop would compute it again."""
        return self.const(value) if isinstance(value, int | tirx.Var) else T.Bind(value)

    @contextmanager
    def each(self, extent: Dim, kind: Kind = T.serial) -> Iterator[Expr]:
        """``for i in range(extent)``; no loop where it would run once."""
        if isinstance(extent, int) and extent == 1:
            yield self.const(0)
            return
        end = self.const(extent)
        with kind(tirx.const(0, str(end.expr_ty())), end) as var:
            yield var

    def split(self, position: Expr, parts: Dim) -> tuple[Expr, Expr]:
        """Quotient and remainder of what is not negative, in variables."""
        if isinstance(parts, int) and parts == 1:
            return position, self.const(0)
        divide, rest = (tirx.floordiv, tirx.floormod) if isinstance(parts, int) else (tirx.truncdiv, tirx.truncmod)
        # By a size that is not known, rounding down is a choice of two quotients for TVM, which does not know that
        # sizes are positive; nested choices take LLVM minutes.
        return T.Bind(divide(position, self.const(parts))), T.Bind(rest(position, self.const(parts)))

    def unravel(self, position: Expr, shape: Sequence[Dim]) -> list[Expr]:
        """Row-major coordinates, in variables."""
        at: list[Expr] = []
        for size in reversed(shape[1:]):
            position, last = self.split(position, size)
            at.insert(0, last)
        return [position, *at] if shape else []

    def span(self, start: Dim, lanes: int) -> Expr:
        """The indices ``start .. start + lanes - 1`` as one vector; a scalar index where there is one lane."""
        first = self.const(start)
        return first if lanes == 1 else tirx.Ramp(first, tirx.const(1, str(first.expr_ty())), lanes)

    def assume(self, pairs: Sequence[tuple[Dim, Dim]]) -> None:
        """Checks at run time that dims are equal, where the model says so and nothing proves it."""
        for left, right in pairs:
            equal = tirx.EQ(self.const(left), self.const(right))
            with T.Assert(equal, "sizes that must be equal are not", "ValueError"):
                pass


@contextmanager
def when(condition: Expr | None) -> Iterator[None]:
    """``if condition:``; nothing for None."""
    if condition is None:
        yield
        return
    with T.If(condition), T.Then():
        yield


def pieces(width: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Start and lanes of the vectors that make up `width` elements; the last may be narrower."""
    for start in range(0, width, lanes):
        yield start, min(lanes, width - start)


def tile_widths(extent: Dim, width: int) -> list[tuple[Expr | None, int]]:
    """`width`, where `extent` holds a tile so wide, and 1 elsewhere: each with its condition.

    Sizes that are not known are taken to be positive: of nothing, either does nothing. Where that says that a tile
    fits, the other is left out: TVM would find there that it divides by sizes that are 0.
    """
    if isinstance(extent, int):
        return [(None, width)]
    fits = extent >= width
    analyzer = sym.Analyzer()
    for size in tirx.analysis.undefined_vars(fits):
        analyzer.bind(size, Range(1, tirx.max_value(str(size.ty))))
    return [(None, width)] if analyzer.can_prove(fits) else [(fits, width), (extent < width, 1)]


def spread(value: Expr, lanes: int) -> Expr:
    """`value` in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def zeros(lanes: int, dtype: str = "float32") -> Expr:
    """A vector of zeros."""
    return spread(tirx.const(0, dtype), lanes)


def prefetch(buffer: tirx.Buffer, at: Sequence[Expr]) -> None:
    """Asks for the cache line of an element that is read soon; nothing happens where there is none."""
    element = tirx.address_of(buffer[tuple(at)])
    read, near, data = (tirx.const(value, "int32") for value in (0, 2, 1))
    T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", element, read, near, data))


class Vectors:
    """`count` vectors of `lanes` floats that only ever are indexed by constants: registers.

    They are a buffer and no variables, since TVM's simplifier looks through variables: it would write out again, and
    reorder, what they stand for.
    """

    def __init__(self, count: int, lanes: int) -> None:
        """Allocates them in the current frame."""
        self.lanes = lanes
        self.buffer = T.alloc_buffer((count * lanes,), "float32", scope="local")

    def _span(self, position: int) -> Expr:
        return Loops().span(position * self.lanes, self.lanes)

    def __getitem__(self, position: int) -> Expr:
        return self.buffer[self._span(position)]

    def put(self, position: int, value: Expr) -> None:
        """Set one vector."""
        T.buffer_store(self.buffer, value, [self._span(position)])

    def element(self, position: int, lane: Expr) -> Expr:
        """One lane of a vector."""
        return self.buffer[position * self.lanes + lane]
