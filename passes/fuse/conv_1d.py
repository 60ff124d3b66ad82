"""conv(x, w) of signals: convolutions of images of height 1, for which there are kernels and layouts.

Elementwise ops are done on the images too, so that they stay next to the convolution as its epilogue, and chains of
convolutions leave the images once only.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import Fact, onnx, shape_of
from dsc.passes.pattern import const, maybe, ops, value
from dsc.passes.rule import Match, Rule

_HEIGHT = 2
"""The dim that is added, of N, C, H, W."""


class ConvOfImage(Rule):
    """conv(x, w, b), x of rank 3 => squeeze(conv(unsqueeze(x), w', b))"""

    pattern = ops.Conv(value("x"), const("w"), maybe("b"), label="conv")

    def check(self, m: Match) -> str | None:
        shape = shape_of(m.x.type)
        return None if shape is not None and len(shape) == 3 else "it is not 1-d"

    def rewrite(self, m: Match) -> SSAValue:
        begin, end = m.conv.attr("pads", [0, 0])
        image = m.emit(onnx.Unsqueeze, m.x, m.constant(np.array([_HEIGHT]), "axes"))
        conv = m.like(
            m.conv,
            image.out,
            m.constant(np.expand_dims(m.array("w"), _HEIGHT), "weight"),
            m.b,
            kernel_shape=[1, m.array("w").shape[2]],
            strides=[1, *m.conv.attr("strides", [1])],
            dilations=[1, *m.conv.attr("dilations", [1])],
            pads=[0, begin, 0, end] if m.conv.attr("auto_pad") == "NOTSET" else None,
        )
        return _signal(m, conv.out)


class MapImage(Rule):
    """f(squeeze(x)) => squeeze(f(x)), f an activation"""

    pattern = ops.being(Fact.ACTIVATION)(ops.Squeeze(value("x"), const("axes")), ..., label="f")

    def check(self, m: Match) -> str | None:
        others = [v for v in m.f.node_inputs()[1:] if v is not None]
        if not _is_height(m, "axes", m.x):
            return "the squeeze is another"
        return None if all(shape_of(v.type) == () for v in others) else "an operand is not a scalar"

    def rewrite(self, m: Match) -> SSAValue:
        return _signal(m, m.like(m.f, m.x, *m.f.node_inputs()[1:]).out)


class CombineImages(Rule):
    """f(squeeze(x), squeeze(y)) => squeeze(f(x, y)), f = +, *"""

    pattern = ops.any("Add", "Mul")(ops.Squeeze(value("x"), const("a")), ops.Squeeze(value("y"), const("b")), label="f")

    def check(self, m: Match) -> str | None:
        if not (_is_height(m, "a", m.x) and _is_height(m, "b", m.y)):
            return "the squeezes are others"
        return None if m.x.type == m.y.type else "the shapes may differ"

    def rewrite(self, m: Match) -> SSAValue:
        return _signal(m, m.like(m.f, m.x, m.y).out)


class StayImage(Rule):
    """unsqueeze(squeeze(x)) => x"""

    pattern = ops.Unsqueeze(ops.Squeeze(value("x"), const("a")), const("b"), label="back")
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        same = _is_height(m, "a", m.x) and _is_height(m, "b", m.x) and m.x.type == m.back.out.type
        return None if same else "it is another dim"

    def rewrite(self, m: Match) -> SSAValue:
        x: SSAValue = m.x
        return x


def _signal(m: Match, image: SSAValue) -> SSAValue:
    made: SSAValue = m.emit(onnx.Squeeze, image, m.constant(np.array([_HEIGHT]), "axes")).out
    return made


def _is_height(m: Match, axes: str, image: SSAValue) -> bool:
    """Whether `axes` is the height of `image`."""
    shape = shape_of(image.type)
    return shape is not None and len(shape) == 4 and m.array(axes).reshape(-1).tolist() == [_HEIGHT]


RULES: tuple[Rule, ...] = (ConvOfImage(), MapImage(), CombineImages(), StayImage())
