"""The factors of both products of an attention, as matrices of lines by depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.gemm.product import batch_at
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix.side import Side, packed


@dataclass(frozen=True, eq=False)
class Sides:
    """What is multiplied, in one type."""

    queries: Side
    """Lines are queries, their depth the elements of a head."""
    keys: Side
    """Lines are keys."""
    values: Side
    """Lines are elements of the result, their depth the keys."""

    @staticmethod
    def of(problem: Problem, element: str) -> Sides:
        """Those of an attention whose products are of `element`."""

        def side(tensor: te.Tensor, lines: Dim, depth: Dim, at: Callable[[Expr, Expr], list[Expr]]) -> Side:
            return Side(_factor(problem, tensor, lines, depth, at), (lines,), (depth,), problem.params, element)

        return Sides(
            side(problem.q, problem.queries, problem.depth, lambda s, d: [s, d]),
            side(problem.k, problem.keys, problem.depth, lambda t, d: [d, t]),
            side(problem.v, problem.width, problem.keys, lambda e, t: [t, e]),
        )

    @property
    def exact(self) -> set[str]:
        """The narrowest types in which the factors are exact."""
        return {side.exact for side in (self.queries, self.keys, self.values)}


def _factor(
    problem: Problem, tensor: te.Tensor, lines: Dim, depth: Dim, at: Callable[[Expr, Expr], list[Expr]]
) -> Factor:
    """``[batch.., lines, depth]`` of a tensor whose last two indices are `at` of these; batches may be fewer there."""

    def element(*indices: Expr) -> Expr:
        *batch, line, k = indices
        leading = batch_at(tensor.shape[:-2], problem.batch, batch)
        return tensor(*leading, *at(line, k))

    made = te.compute([tirx.convert(size) for size in (*problem.batch, lines, depth)], element, name="factor")
    axis = len(problem.batch)
    return Factor(made, Access.of(made, problem.params), range(axis, axis + 1), range(axis + 1, axis + 2))


@dataclass(frozen=True, eq=False)
class Rounded:
    """Probabilities as the second product has them."""

    side: Side
    """Of one element."""
    given: te.Tensor
    """That element, before it is rounded."""

    @staticmethod
    def to(element: str) -> Rounded:
        """In that type."""
        given = te.placeholder((1,), "float32", name="probability")
        same = te.compute((1,), lambda i: given[i], name="factor")
        return Rounded(Side(Factor(same, None, range(0), range(1)), (), (1,), (given,), element), given)

    def word(self, values: Sequence[Expr], dtype: str) -> Expr:
        """A register of an operand, of that type, from the float32 elements in it."""
        word = packed([self._element(value) for value in values])
        return word if dtype == str(word.expr_ty()) else tirx.reinterpret(dtype, word)

    def _element(self, value: Expr) -> Expr:
        return self.side.element_at(Elements({self.given: lambda _: value}), [tirx.const(0, "int32")])
