"""Means over all of an image."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import onnx
from dsc.passes.canonicalize.facts import is_float, rank, reduced_axes, static_shape
from dsc.passes.pattern import const, ops, value
from dsc.passes.rule import Match, Rule

x = value("x")


class MeanIsGlobalPool(Rule):
    """reduce_mean(x, all spatial axes) => global_average_pool(x), of images (rank 4 and 5)"""

    pattern = ops.ReduceMean(x, const("axes"))

    def check(self, m: Match) -> str | None:
        r = rank(m.x)
        if r not in (4, 5) or not is_float(m.x):
            return "it is no image"
        return None if reduced_axes(m.array("axes"), r) == tuple(range(2, r)) else "the axes are others"

    def rewrite(self, m: Match) -> SSAValue:
        pooled: SSAValue = m.emit(onnx.GlobalAveragePool, m.x).out
        if m.root.attr("keepdims"):
            return pooled
        axes = m.constant(np.arange(2, rank(m.x), dtype=np.int64))
        flat: SSAValue = m.emit(onnx.Squeeze, pooled, axes).out
        return flat


class WholePoolIsGlobal(Rule):
    """average_pool(x, kernel = image, no pads) => global_average_pool(x)"""

    pattern = ops.AveragePool(x)

    def check(self, m: Match) -> str | None:
        shape, op = static_shape(m.x), m.root
        if shape is None or tuple(op.attr("kernel_shape")) != shape[2:]:
            return "the kernel is not the whole image"
        if any(op.attr("pads", ())) or op.attr("auto_pad") not in ("NOTSET", "VALID"):
            return "it is padded"
        return "it is dilated" if any(d != 1 for d in op.attr("dilations", ())) else None

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.GlobalAveragePool, m.x).out
        return made


RULES: tuple[Rule, ...] = (MeanIsGlobalPool(), WholePoolIsGlobal())
