"""Operators that hand on one operand unchanged."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import Fact, element_of, onnx
from dsc.passes.canonicalize.facts import same_element, same_shape, same_volume_and_all_but_one, static_shape
from dsc.passes.pattern import const, either, maybe, ops, values
from dsc.passes.rule import Match, Rule

x, y, z = values("x y z")


class _Neutral(Rule):
    """An operator with its neutral element, exactly, which must not widen the shape."""

    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        return None if same_shape(m.x.type, m.root.out.type) else "the constant may widen the shape"

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


class AddZero(_Neutral):
    """x + -0 => x; x - 0 => x; both zeros are one for integers

    The sum of the zeros -0 and +0 is +0.
    """

    pattern = either(x + -0.0, x - 0.0)


class MulOne(_Neutral):
    """x * 1 => x; x / 1 => x"""

    pattern = either(x * 1, x / 1)


class PowOne(_Neutral):
    """x ** 1 => x"""

    pattern = x**1


class ExpandToSame(_Neutral):
    """expand(x, shape(x)) => x"""

    pattern = ops.Expand(x, y)


class _Same(Rule):
    """An operator that is the identity as its attributes or operands are."""

    inner_values_may_be_used = True

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


class DropIdentity(_Same):
    """identity(x) => x"""

    pattern = ops.Identity(x)


class DropDropout(_Same):
    """dropout(x) => x, its mask => true, at inference"""

    pattern = ops.Dropout(x, maybe("ratio"), maybe("training"))

    def check(self, m: Match) -> str | None:
        training = m.graph.constant(m.training)
        return None if m.training is None or (training is not None and not training.any()) else "it may be training"

    def rewrite(self, m: Match) -> list[SSAValue]:  # type: ignore[override]
        if m.root.mask is None:
            return [m.x]
        return [m.x, m.emit(onnx.Expand, m.constant(np.array(True)), m.emit(onnx.Shape, m.x).out).out]


class DropResize(_Same):
    """resize(x, scales = 1) => x"""

    pattern = ops.Resize(x, maybe("roi"), const("scales"))

    def check(self, m: Match) -> str | None:
        if m.root.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
            return "a region may be cut out"
        scales = m.graph.constant(m.scales)
        return None if scales is not None and scales.size and (scales == 1).all() else "a scale is not 1"


class DropCast(_Same):
    """cast<T>(x: T) => x"""

    pattern = either(ops.Cast(x), ops.CastLike(x, y))

    def check(self, m: Match) -> str | None:
        return None if same_element(m.x, m.root.out) else "the types differ"


class DropVariadic(_Same):
    """concat(x) => x; also Sum, Max, Min and Mean of one"""

    pattern = ops.any("Concat", "Sum", "Max", "Min", "Mean")(x)


class NegNeg(_Same):
    """-(-x) => x; not(not(x)) => x"""

    pattern = either(ops.Neg(ops.Neg(x)), ops.Not(ops.Not(x)))


class DropClip(_Same):
    """clip(x) without bounds => x"""

    pattern = ops.Clip(x)


class DropPad(_Same):
    """pad(x, 0) => x"""

    pattern = ops.Pad(x, const("pads"), ...)

    def check(self, m: Match) -> str | None:
        return "it pads" if m.array("pads").any() else None


class DropTile(_Same):
    """tile(x, 1) => x"""

    pattern = ops.Tile(x, 1)


class DropReduction(_Same):
    """reduce(x, no axes) => x, when an empty list of axes means none"""

    pattern = ops.any("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")(
        x, maybe(const("axes")), noop_with_empty_axes=1
    )

    def check(self, m: Match) -> str | None:
        return "it has axes" if m.axes is not None and m.array("axes").size else None


class DropSplit(_Same):
    """split(x) in one => x"""

    pattern = ops.Split(x, ...)

    def check(self, m: Match) -> str | None:
        return None if len(m.root.results) == 1 else "it has more outputs"


class DropSlice(_Same):
    """slice(x, everything) => x"""

    pattern = ops.Slice(x, const("starts"), const("ends"), maybe(const("axes")), maybe(const("steps")))

    def check(self, m: Match) -> str | None:
        if m.steps is not None and (m.array("steps") != 1).any():
            return "it has steps"
        if not m.array("starts").any() and (m.array("ends") >= _INT32_MAX).all():
            return None
        whole = static_shape(m.x) is not None and same_shape(m.x.type, m.root.out.type)
        return None if whole else "it cuts something off"


_INT32_MAX = 2**31 - 1


class DropReshape(_Same):
    """reshape(x, shape(x)) => x; also Flatten, Squeeze and Unsqueeze"""

    pattern = ops.being(Fact.VIEW)(x, ...)

    def check(self, m: Match) -> str | None:
        # A reshape keeps the number of elements, so that all dims but one prove the last.
        return None if same_volume_and_all_but_one(m.x.type, m.root.out.type) else "the shapes may differ"


class SumOfTwo(Rule):
    """sum(x, y) => x + y"""

    pattern = ops.Sum(x, y)

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.Add, m.x, m.y).out
        return made


class CastLikeIsCast(Rule):
    """cast_like(x, y: T) => cast<T>(x)"""

    pattern = ops.CastLike(x, y)

    def rewrite(self, m: Match) -> SSAValue:
        to = element_of(m.y.type).code
        made: SSAValue = m.emit(onnx.Cast, m.x, to=to, saturate=m.root.attrs().get("saturate")).out
        return made


RULES: tuple[Rule, ...] = (
    SumOfTwo(),
    DropIdentity(),
    DropDropout(),
    DropCast(),
    CastLikeIsCast(),
    DropVariadic(),
    AddZero(),
    MulOne(),
    PowOne(),
    NegNeg(),
    DropClip(),
    DropPad(),
    DropTile(),
    DropReduction(),
    DropSplit(),
    DropSlice(),
    DropReshape(),
    ExpandToSame(),
)
