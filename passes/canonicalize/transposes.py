"""Transposes that do nothing, merge, only move dims of size 1, or turn what is taken from a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, onnx
from dsc.passes.canonicalize.facts import rank, static_shape
from dsc.passes.pattern import const, ops, value
from dsc.passes.rule import Match, Rule

x = value("x")


def permutation(op: OnnxOp) -> tuple[int, ...] | None:
    """The permutation of a Transpose; None when it is left out and the rank is not known."""
    given: Sequence[int] | None = op.attr("perm")
    if given is not None:
        return tuple(given)
    r = rank(op.data)
    return None if r is None else tuple(reversed(range(r)))


class DropTranspose(Rule):
    """transpose(x, identity) => x"""

    pattern = ops.Transpose(x)

    def check(self, m: Match) -> str | None:
        perm = permutation(m.root)
        return None if perm is not None and perm == tuple(range(len(perm))) else "it moves dims"

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


class TransposeOfTranspose(Rule):
    """transpose(transpose(x, p), q) => transpose(x, p[q])"""

    pattern = ops.Transpose(ops.Transpose(x, label="first"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        known = permutation(m.first) is not None and permutation(m.root) is not None
        return None if known else "the rank is not known"

    def rewrite(self, m: Match) -> SSAValue:
        first, second = permutation(m.first), permutation(m.root)
        assert first is not None
        assert second is not None
        merged: SSAValue = m.emit(onnx.Transpose, m.x, perm=[first[i] for i in second]).out
        return merged


class TransposeIsReshape(Rule):
    """transpose(x, moving dims of size 1 only) => reshape(x, constant)"""

    pattern = ops.Transpose(x)

    def check(self, m: Match) -> str | None:
        perm, shape = permutation(m.root), static_shape(m.x)
        if perm is None or shape is None:
            return "the shape is not known"
        kept = [axis for axis in perm if shape[axis] != 1]
        return None if kept == sorted(kept) else "it moves data"

    def rewrite(self, m: Match) -> SSAValue:
        shape, perm = static_shape(m.x), permutation(m.root)
        assert shape is not None
        assert perm is not None
        target = m.constant(np.array([shape[i] for i in perm], np.int64))
        made: SSAValue = m.emit(onnx.Reshape, m.x, target, allowzero=1 if 0 in shape else None).out
        return made


class TransposeOfGather(Rule):
    """transpose(gather(c, i), p) => gather(transpose(c, q), i), where p moves dims within what is taken"""

    pattern = ops.Transpose(ops.Gather(const("c", owned=True), value("i"), label="gather"))

    def check(self, m: Match) -> str | None:
        perm, taken = permutation(m.root), rank(m.i)
        if m.gather.attr("axis", 0) != 0 or perm is None or taken is None:
            return "the axis is not the first, or a rank is not known"
        return None if perm[:taken] == tuple(range(taken)) else "it moves dims of the indices"

    def rewrite(self, m: Match) -> SSAValue:
        perm, taken = permutation(m.root), rank(m.i)
        assert perm is not None
        assert taken is not None
        turned = m.constant(m.array("c").transpose([0, *(axis - taken + 1 for axis in perm[taken:])]), "turned")
        made: SSAValue = m.emit(onnx.Gather, turned, m.i, axis=0).out
        return made


RULES: tuple[Rule, ...] = (DropTranspose(), TransposeOfTranspose(), TransposeIsReshape(), TransposeOfGather())
