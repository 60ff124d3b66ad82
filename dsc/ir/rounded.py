"""Bytes that are made of floats by Clip, Round and Cast, as quantization is where its scales are one."""

from __future__ import annotations

import numpy as np
from xdsl.ir import Operation

from dsc.ir import onnx
from dsc.ir.types import element_of


def rounded_between(op: Operation) -> tuple[float, float] | None:
    """Between which whole numbers the whole numbers of float32 are that an op casts; None where it casts none, or
    nothing says."""
    if not isinstance(op, onnx.Cast) or element_of(op.input.type).dtype != np.float32:
        return None
    rounding = op.input.owner
    if not isinstance(rounding, onnx.Round) or not isinstance(clip := rounding.X.owner, onnx.Clip):
        return None
    limits = [limit.item() for limit in map(onnx.constant_value, clip.node_inputs()[1:]) if limit is not None]
    return (limits[0], limits[1]) if len(limits) == 2 and all(limit.is_integer() for limit in limits) else None
