"""Weights less any zero points, as signed bytes and what these leave over.

``sum of (x - zx) (w - zw) = sum of (x - zx) (w - o) - (zw - o) sum of (x - zx)``, for any number ``o``. It is the one
nearest to the zero point for which ``w - o`` are signed bytes: the zero point itself where that will do, and then
nothing is left over. The sums on the right are a product by ones, the same for all channels and for all products that
read ``x``, or a product by ``zw - o``: padding is the zero point, so it adds nothing to either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, onnx
from dsc.passes.rule import Match


@dataclass(frozen=True)
class SignedWeights:
    """``array - rest`` are the weights less their zero points."""

    array: np.ndarray
    """Signed bytes."""
    rest: np.ndarray | None
    """Signed bytes too: one, or one for each output channel; None where all are 0."""

    @staticmethod
    def of(weights: np.ndarray, zero: np.ndarray | None, axis: int) -> SignedWeights:
        """Of bytes, and their zero points: one, or one for each step along `axis`, the output channels."""
        if weights.dtype == np.int8 and (zero is None or not zero.any()):
            return SignedWeights(weights, None)
        zeros = np.zeros((), np.int16) if zero is None else zero.astype(np.int16).reshape(() if zero.size == 1 else -1)
        others = tuple(a for a in range(weights.ndim) if zeros.ndim == 0 or a != axis)
        least, most = weights.min(others).astype(np.int16), weights.max(others).astype(np.int16)
        ends = np.iinfo(np.int8)
        offsets = np.clip(zeros, most - ends.max, least - ends.min)
        along = [-1 if zeros.ndim and a == axis else 1 for a in range(weights.ndim)]
        array = (weights.astype(np.int16) - offsets.reshape(along)).astype(np.int8)
        rest = (zeros - offsets).astype(np.int8)
        return SignedWeights(array, rest if rest.any() else None)

    @property
    def most_terms(self) -> int:
        """Of a sum that certainly stays within 32 bits, the two on the right included."""
        largest = 128 if self.rest is None else 255
        return int((2**31 - 1) // (255 * largest))

    def product(self, m: Match, op: type[OnnxOp], x: SSAValue, zero: SSAValue | None, **attributes: Any) -> SSAValue:
        """MatMulInteger or ConvInteger of `x`, with its zero point, by the weights; a matrix, or [OC, IC / groups, ..].

        Depthwise convolutions keep the rest as a zero point: their kernel multiplies numbers of 9 bits as well, and
        sums for each channel would be another convolution.
        """
        weights, groups = m.constant(self.array, "weights"), attributes.get("group", 1)
        if self.rest is None or is_depthwise(self.array.shape, groups):
            rest = None if self.rest is None else m.constant(self.rest, "weights_zero")
            alone: SSAValue = m.emit(op, x, weights, zero, rest, **attributes).out
            return alone
        left_over = self._left_over(m, op, x, zero, attributes)
        product = m.emit(op, x, weights, zero, None, **attributes).out
        made: SSAValue = m.emit(onnx.Sub, product, left_over).out
        return made

    def _left_over(
        self, m: Match, op: type[OnnxOp], x: SSAValue, zero: SSAValue | None, attributes: dict[str, Any]
    ) -> SSAValue:
        """``(zw - o) sum of (x - zx)``, of all output channels, or of one for all."""
        assert self.rest is not None
        shape, channels = list(self.array.shape), 0 if op is onnx.ConvInteger else -1
        if attributes.get("group", 1) == 1:  # groups have sums of their own
            shape[channels] = 1
        if op is onnx.ConvInteger and self.rest.size == 1:
            # a convolution ends after few terms, and should have little to do then
            by_rest = m.constant(np.full(shape, self.rest, np.int8), "weights_zero")
            found: SSAValue = m.emit(op, x, by_rest, zero, None, **attributes).out
            return found
        sums = m.emit(op, x, m.constant(np.ones(shape, np.int8), "ones"), zero, None, **attributes).out
        # a vector, which is an operand of its region, where one number would be part of its code
        rests = np.broadcast_to(self.rest.astype(np.int32), self.array.shape[channels])
        if op is onnx.ConvInteger:
            rests = rests.reshape(-1, *[1] * (self.array.ndim - 2))
        made: SSAValue = m.emit(onnx.Mul, sums, m.constant(rests, "weights_zero")).out
        return made


def is_depthwise(shape: tuple[int, ...], groups: int) -> bool:
    """Whether weights of this shape are those of a depthwise convolution that has a kernel of its own."""
    return len(shape) == 4 and shape[1] == 1 and groups == shape[0] and groups % 4 == 0
