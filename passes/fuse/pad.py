"""conv(pad(x, p), w) => conv(x, w, pads + p): a convolution pads with zeros by itself."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import shape_of
from dsc.passes.pattern import const, maybe, ops, value
from dsc.passes.rule import Match, Rule


class PadIntoConv(Rule):
    """conv(pad(x, p), w) => conv(x, w, pads + p)"""

    pattern = ops.Conv(
        ops.Pad(value("x"), const("p"), maybe("fill"), maybe("axes"), label="pad", mode="constant"),
        value("w"), maybe("b"), label="conv",
    )  # fmt: skip

    def check(self, m: Match) -> str | None:
        if m.fill is not None and not _is_zero(m.graph.constant(m.fill)):
            return "the padding is not zero"
        if m.axes is not None and m.graph.constant(m.axes) is None:
            return "the axes are not constant"
        if m.conv.attr("auto_pad") not in ("NOTSET", "VALID"):
            return f"auto_pad is {m.conv.attr('auto_pad')}"
        pads = _pads(m)
        if pads is None:
            return "the rank is not known"
        if pads[:, :2].any():
            return "batch or channels are padded"
        return "it crops" if (pads < 0).any() else None

    def rewrite(self, m: Match) -> SSAValue:
        added = _pads(m)
        assert added is not None
        spatial = added[:, 2:].reshape(-1)
        pads = [int(a + b) for a, b in zip(spatial, m.conv.attr("pads", [0] * len(spatial)), strict=True)]
        found: SSAValue = m.like(m.conv, m.x, m.w, m.b, pads=pads, auto_pad="NOTSET").out
        return found


def _is_zero(array: np.ndarray | None) -> bool:
    return array is not None and not array.any()


def _pads(m: Match) -> np.ndarray | None:
    """What is padded, as [begin or end, dim]."""
    shape = shape_of(m.x.type)
    if shape is None:
        return None
    given = m.array("p").reshape(2, -1)
    axes = range(len(shape)) if m.axes is None else m.array("axes").reshape(-1)
    pads = np.zeros((2, len(shape)), np.int64)
    for column, axis in enumerate(axes):
        pads[:, int(axis)] = given[:, column]
    return pads
