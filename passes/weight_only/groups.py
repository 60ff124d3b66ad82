"""The one form of a weight of few bits: a matrix with a scale, and maybe a zero point, for each group of its depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
from xdsl.ir import SSAValue

from dsc.elements import computed, integer_encoding
from dsc.ir import Graph, OnnxOp, element_of, onnx
from dsc.passes.canonicalize.packed_weights import MOST_BITS
from dsc.passes.rule import Match

WORD = 32
"""Bits that kernels unpack at a time: groups begin with one of their own."""
_SIGNED = {2: np.dtype(ml_dtypes.int2), 4: np.dtype(ml_dtypes.int4), 8: np.dtype(np.int8)}


@dataclass(frozen=True)
class Grouped:
    """``weights[k, n] = scales[k // size, n] * (integers[k, n] - zeros[k // size, n])``"""

    integers: np.ndarray
    """[k, n]"""
    scales: np.ndarray
    """[groups, n], of the type that is computed in."""
    zeros: np.ndarray | None
    """Of the shape of the scales and the type of the integers; None where all are 0."""
    size: int
    """Of a group; the last may be smaller."""

    def refused_as_factor(self) -> str | None:
        """Why kernels for products do not take it: each group begins with a word of its own, of as many integers of the
        depth as it holds."""
        encoding = integer_encoding(self.integers.dtype)
        assert encoding is not None  # they are integers
        if self.scales.dtype != np.float32:
            return "it is not dequantized to float32"
        in_words = len(self.scales) == 1 or self.size % (WORD // encoding.bits) == 0
        return None if in_words else f"groups of {self.size} are no whole words"

    def emit(self, m: Match) -> SSAValue:
        """The dequantization, before the root."""
        zeros = None if self.zeros is None else m.constant(self.zeros, "zero_points")
        integers, scales = m.constant(self.integers, "integers"), m.constant(self.scales, "scales")
        made: SSAValue = m.emit(onnx.DequantizeLinear, integers, scales, zeros, axis=0, block_size=self.size).out
        return made


def grouped(graph: Graph, op: OnnxOp, depth_axis: int = 0) -> Grouped | str:
    """The constant matrix that a DequantizeLinear gives, by groups of an axis, which is made the first; or why it is
    none."""
    integers, scales = graph.constant(op.x), graph.constant(op.x_scale)
    zeros = None if op.x_zero_point is None else graph.constant(op.x_zero_point)
    if integers is None or scales is None or (zeros is None) != (op.x_zero_point is None):
        return "the weights are not constant"
    encoding = integer_encoding(integers.dtype)
    if integers.ndim != 2 or not integers.size or encoding is None or encoding.bits > MOST_BITS:
        return "it is no matrix of small integers"
    if scales.dtype != element_of(op.results[0].type).dtype:
        return "it is dequantized to another type than its scales have"
    if not np.isfinite(scales).all():
        return "a scale is not finite"
    axis, size = op.attr("axis", 1) % 2, op.attr("block_size", 0)
    if depth_axis == 1:
        integers, scales, zeros, axis = integers.T, scales.T, None if zeros is None else zeros.T, 1 - axis
    depth, columns = integers.shape
    if scales.ndim < 2:
        if scales.size != 1 and axis != 1:
            return "each step of the depth has a scale of its own"
        size = depth
        scales, zeros = _of_columns(scales, columns), None if zeros is None else _of_columns(zeros, columns)
    elif axis != 0:
        return "the blocks do not go along the depth"
    return Grouped(integers, scales, zeros, min(size, depth))


def _of_columns(parameter: np.ndarray, columns: int) -> np.ndarray:
    return np.broadcast_to(parameter.reshape(1, -1), (1, columns))


def centered(found: Grouped) -> Grouped:
    """The same as signed integers without zero points, where these are in range; else as it is."""
    encoding = integer_encoding(found.integers.dtype)
    assert encoding is not None  # it was checked
    zeros = found.zeros if found.zeros is not None and computed(found.zeros).any() else None
    if zeros is None and (encoding.signed or found.zeros is None):
        return found if found.zeros is None else replace(found, zeros=None)
    wide = computed(found.integers).astype(np.int16)
    if zeros is not None:
        wide -= np.repeat(computed(zeros).astype(np.int16), found.size, axis=0)[: len(wide)]
    signed = _SIGNED[encoding.bits]
    narrow = wide.astype(signed)
    same = np.array_equal(computed(narrow), wide)
    return Grouped(narrow, found.scales, None, found.size) if same else found


def is_grouped(graph: Graph, op: OnnxOp) -> bool:
    """Whether an op gives such a weight to one product, and to nothing else."""
    if not isinstance(op, onnx.DequantizeLinear) or op.attr("axis") != 0 or not op.attr("block_size", 0):
        return False
    uses = list(op.results[0].uses)
    if len(uses) != 1 or not isinstance(uses[0].operation, onnx.MatMul) or uses[0].index != 1:
        return False
    found = grouped(graph, op)
    return not isinstance(found, str) and found.refused_as_factor() is None
