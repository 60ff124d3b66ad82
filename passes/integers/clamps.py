"""Relu and Clip of what is quantized: quantizing is monotone, so bytes are cut to the limits as these are quantized."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import Graph, OnnxOp, element_of, onnx
from dsc.passes.integers.scales import BYTES, FLOAT32, refuse_again
from dsc.passes.pattern import const, ops, value
from dsc.passes.rule import Match, Rule


class ClampOfDequantized(Rule):
    """q(clip(dq(x))) => clip(x), of one scale and zero point; relu too

    Quantizing is monotone, so the limits are quantized. Those at the end of the type are none.
    """

    pattern = ops.QuantizeLinear(
        ops.any("Clip", "Relu")(ops.DequantizeLinear(value("x"), ..., label="dq"), ..., label="clamp"), ...
    )
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if refused := refuse_again(m):
            return refused
        scale = m.graph.constant(m.dq.x_scale)
        if scale is None or not (np.isfinite(scale) & (scale > 0)).all():
            return "the scale is not a positive number"
        limits = [m.graph.constant(limit) for limit in m.clamp.operands[1:]]
        return None if all(limit is not None and not np.isnan(limit) for limit in limits) else "a limit is not known"

    def rewrite(self, m: Match) -> SSAValue:
        dtype = element_of(m.x.type).dtype
        ends = np.iinfo(dtype.name)
        low, high = quantized_limits(m.graph, m.clamp, m.root)
        kept = [
            None if limit == end else m.constant(np.array(limit, dtype))
            for limit, end in ((low, ends.min), (high, ends.max))
        ]
        made: SSAValue = m.x if kept == [None, None] else m.emit(onnx.Clip, m.x, *kept).out
        return made


class ClampOfBytes(Rule):
    """clip(byte(round(clip(x, a, b))), c, d) => byte(round(clip(x, a', b'))), a', b' being a, b between c and d"""

    inner = ops.Clip(value("x"), const("a"), const("b"), label="inner")
    pattern = ops.Clip(ops.Cast(ops.Round(inner, label="round"), label="cast"), ...)

    def check(self, m: Match) -> str | None:
        if element_of(m.root.results[0].type).dtype not in BYTES or element_of(m.x.type).dtype != FLOAT32:
            return "it does not make bytes of float32"
        ends = np.iinfo(element_of(m.root.results[0].type).dtype.name)
        if not ends.min <= m.array("a").item() <= m.array("b").item() <= ends.max:
            return "what is cast may be no byte"
        return None if all(m.graph.constant(v) is not None for v in m.root.operands[1:]) else "a limit is not known"

    def rewrite(self, m: Match) -> SSAValue:
        ends = [None if v is None else m.graph.constant(v) for v in m.root.node_inputs()[1:]]
        low, high = (None if end is None else end.item() for end in (*ends, None, None)[:2])
        limits = (m.array(name).item() for name in "ab")
        within = (m.constant(np.array(_between(limit, low, high), np.float32)) for limit in limits)
        made: SSAValue = m.like(m.cast, m.like(m.round, m.like(m.inner, m.x, *within).out).out).out
        return made


def _between(number: float, low: float | None, high: float | None) -> float:
    """The number cut to limits, either of which may be absent; the upper one holds where they cross."""
    number = number if low is None else max(number, low)
    return number if high is None else min(number, high)


def quantized_limits(graph: Graph, clamp: OnnxOp, quantize: OnnxOp) -> tuple[float, float]:
    """The bytes, as floats, between which those are that `quantize` makes of the results of `clamp`, a Relu or a Clip.

    Its scale, its zero point and the limits are constants.
    """
    low, high = 0.0, np.inf
    if isinstance(clamp, onnx.Clip):
        given = [None if v is None else graph.constant(v) for v in clamp.node_inputs()[1:]]
        low, high = (end if a is None else a.item() for a, end in zip_longest(given, (-np.inf, np.inf)))
    scale, zero = (None if v is None else graph.constant(v) for v in (quantize.y_scale, quantize.y_zero_point))
    assert scale is not None
    with np.errstate(over="ignore"):
        steps = np.rint(np.array([low, high], np.float32) / scale.reshape(()))
    steps += 0 if zero is None else int(zero.item())
    ends = np.iinfo(element_of(quantize.results[0].type).dtype.name)
    first, second = np.clip(steps, ends.min, ends.max).tolist()
    return first, second


RULES: tuple[Rule, ...] = (ClampOfDequantized(), ClampOfBytes())
