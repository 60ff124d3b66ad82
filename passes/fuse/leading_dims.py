"""Reshapes around an op that works along the last dim only: they would part it from its neighbours.

Frameworks flatten the leading dims before a Gemm or a softmax, and restore them after. The op does not care,
so the second reshape moves to the first, and mostly both are gone.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import dims_of, onnx
from dsc.passes.pattern import Pattern, const, ops, value
from dsc.passes.rule import Match, Rule

_flat = ops.any("Reshape", "Flatten")(value("x"), ..., label="flat")
_product = ops.MatMul(_flat, value("w"), label="product")


class _AlongLastDim(Rule):
    """Base: reshape(f(reshape(x))) => f(reshape(x)), or f(x) where the second reshape undoes the first."""

    def check(self, m: Match) -> str | None:
        inner, outer = dims_of(m.root.data.type), dims_of(m.root.out.type)
        if not inner or not outer or not dims_of(m.x.type):
            return "a rank is not known"
        if inner[-1] != outer[-1] or not isinstance(inner[-1], int):
            return "the last dim is reshaped too"
        if reason := self.check_op(m):
            return reason
        if _restores(m):
            return None
        target = (*outer[:-1], self.width(m))
        if sum(isinstance(d, str) for d in target) > 1:
            return "the leading dims are not known"
        return "it has no elements" if 0 in target else None  # Reshape reads a 0 as "copy"

    def check_op(self, m: Match) -> str | None:
        """Why the op in the middle cannot have other leading dims."""
        return None

    def width(self, m: Match) -> int | str:
        """The last dim of what the op in the middle reads."""
        flat = dims_of(m.flat.out.type)
        return flat[-1] if flat else ""

    def reshaped(self, m: Match) -> SSAValue:
        """x with the leading dims of the result."""
        if _restores(m):
            found: SSAValue = m.x
            return found
        result = dims_of(m.root.out.type)
        assert result
        target = [d if isinstance(d, int) else -1 for d in (*result[:-1], self.width(m))]
        made: SSAValue = m.emit(onnx.Reshape, m.x, m.constant(np.array(target, np.int64))).out
        return made


class _Product(_AlongLastDim):
    """Base: products with a matrix, which tells the last dim where a computed reshape does not."""

    def check_op(self, m: Match) -> str | None:
        return None if len(dims_of(m.w.type) or ()) == 2 else "w is not a matrix"

    def width(self, m: Match) -> int | str:
        rows = (dims_of(m.w.type) or ("",))[0]
        return rows if isinstance(rows, int) else super().width(m)


def _restores(m: Match) -> bool:
    """Whether the leading dims of the result are certainly those of x, whose last dim is not reshaped
    either."""
    source, flat, result = dims_of(m.x.type), dims_of(m.flat.out.type), dims_of(m.root.out.type)
    assert source
    assert flat
    assert result
    if source[-1] != flat[-1] or not isinstance(flat[-1], int):
        return False
    if source[:-1] == result[:-1] and "" not in source[:-1]:
        return True
    shape = m.root.shape.owner
    return isinstance(shape, onnx.Shape) and shape.data is m.x and not shape.attrs() and source[-1] == result[-1]


class SoftmaxOfMany(_AlongLastDim):
    """reshape(softmax(reshape(x))) => softmax(reshape(x))"""

    pattern: ClassVar[Pattern] = ops.Reshape(ops.any("Softmax", "LogSoftmax")(_flat, label="softmax"), value("shape"))

    def check_op(self, m: Match) -> str | None:
        rank = len(dims_of(m.flat.out.type) or ())
        return None if m.softmax.attr("axis") in (-1, rank - 1) else "it is not over the last dim"

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.like(m.softmax, self.reshaped(m), axis=-1).out
        return made


class ProductOfMany(_Product):
    """reshape(reshape(x) @ w) => reshape(x) @ w"""

    pattern: ClassVar[Pattern] = ops.Reshape(_product, value("shape"))

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.MatMul, self.reshaped(m), m.w).out
        return made


class BiasedProductOfMany(_Product):
    """reshape(reshape(x) @ w + b) => reshape(x) @ w + b"""

    pattern: ClassVar[Pattern] = ops.Reshape(_product + const("b"), value("shape"))

    def check_op(self, m: Match) -> str | None:
        bias = m.array("b")
        return super().check_op(m) or (None if bias.size == max(bias.shape[-1:], default=1) else "b is not a row")

    def rewrite(self, m: Match) -> SSAValue:
        bias = m.b if m.array("b").ndim <= 1 else m.constant(m.array("b").reshape(-1), "bias")
        made: SSAValue = m.emit(onnx.Add, m.emit(onnx.MatMul, self.reshaped(m), m.w).out, bias).out
        return made


RULES: tuple[Rule, ...] = (SoftmaxOfMany(), ProductOfMany(), BiasedProductOfMany())
