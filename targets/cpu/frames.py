"""Loop nests written with TVM's IR builder: the frames that kernels share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, dims


@dataclass(frozen=True)
class Frames:
    """Statements in one integer type for sizes and indices."""

    dtype: str

    @staticmethod
    def of(params: Sequence[te.Tensor]) -> Frames:
        """In the type of the indices of tensor expressions of `params`: int64 if a dim is symbolic."""
        symbolic = any(isinstance(d, Expr) for tensor in params for d in dims(tensor.shape))
        return Frames("int64" if symbolic else "int32")

    def const(self, value: Dim) -> Expr:
        """`value` as an expression."""
        return tirx.const(value, self.dtype) if isinstance(value, int) else value

    @contextmanager
    def loop(self, extent: Dim, kind: Callable[..., AbstractContextManager[Expr]] = T.serial) -> Iterator[Expr]:
        """``for i in range(extent)``; no loop where it would run once."""
        if isinstance(extent, int) and extent == 1:
            yield self.const(0)
            return
        with kind(self.const(0), self.const(extent)) as var:
            yield var

    @contextmanager
    def lanes(self, count: int) -> Iterator[Expr]:
        """A loop over the lanes of a vector."""
        with T.vectorized(self.const(0), self.const(count)) as lane:
            yield lane

    @contextmanager
    def when(self, condition: Expr | None) -> Iterator[None]:
        """``if condition:``; nothing for None."""
        if condition is None:
            yield
            return
        with T.If(condition), T.Then():
            yield

    def split(self, position: Expr, parts: Dim) -> tuple[Expr, Expr]:
        """Quotient and remainder of what is not negative, in variables."""
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

    def assume(self, pairs: Sequence[tuple[Dim, Dim]]) -> None:
        """Checks at run time that dims are equal, where the model says so and nothing proves it."""
        for left, right in pairs:
            equal = tirx.EQ(self.const(left), self.const(right))
            with T.Assert(equal, "sizes that must be equal are not", "ValueError"):
                pass
