"""Numbers as bytes: ``real = scale * (byte - zero_point)``, for a tensor or for each of its channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dsc.quantize.calibration.ranges import Range

ByteType = Literal["uint8", "int8"]

_TINY = float(np.finfo(np.float32).tiny)
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Grid:
    """scale: float32, positive, and zero_point, of the bytes' type: scalars, or a vector along `axis`."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    def quantized(self, array: np.ndarray) -> np.ndarray:
        """The nearest bytes, halves to even, cut to what the type holds: as QuantizeLinear has it."""
        limits = np.iinfo(self.zero_point.dtype)
        steps = np.rint(array.astype(np.float32) / self._along(self.scale, array.ndim))
        bytes_ = np.clip(steps + self._along(self.zero_point, array.ndim), limits.min, limits.max)
        return np.asarray(bytes_, self.zero_point.dtype)

    def dequantized(self, array: np.ndarray) -> np.ndarray:
        """The numbers that bytes stand for, as DequantizeLinear has it."""
        zero = self._along(self.zero_point, array.ndim).astype(np.int32)
        return np.asarray((array.astype(np.int32) - zero).astype(np.float32) * self._along(self.scale, array.ndim))

    def _along(self, parameter: np.ndarray, rank: int) -> np.ndarray:
        if self.axis is None:
            return parameter
        return parameter.reshape([-1 if axis == self.axis else 1 for axis in range(rank)])


def activation_grid(found: Range, dtype: ByteType, symmetric: bool) -> Grid:
    """A grid over a range, which is widened to hold 0: padding and what Relu cuts off are exact.

    symmetric: 0 is in the middle. A tensor that is 0 throughout gets the scale 1.
    """
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    limits = np.iinfo(dtype)
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
        middle = (int(limits.min) + int(limits.max) + 1) // 2
        scale = np.float32(max(high / (limits.max - middle), _TINY) if high else 1.0)
        return Grid(np.array(scale, np.float32), np.array(middle, dtype))
    steps = int(limits.max) - int(limits.min)
    scale = np.float32(max((high - low) / steps, _TINY) if high > low else 1.0)
    zero = np.clip(np.rint(limits.min - low / float(scale)), limits.min, limits.max)
    return Grid(np.array(scale, np.float32), np.array(zero, dtype))


def weight_grid(weight: np.ndarray, axis: int | None, bits: int = 8) -> Grid:
    """A symmetric grid of signed bytes for each channel along `axis`, or for the whole weight.

    bits: 8 uses -127 to 127; 7 uses -63 to 63. A channel that is 0 throughout gets the scale 1.
    """
    other = None if axis is None else tuple(a for a in range(weight.ndim) if a != axis)
    largest = np.max(np.abs(weight), axis=other, initial=0.0).astype(np.float64)
    scale = np.where(largest > 0, np.maximum(largest / (2 ** (bits - 1) - 1), _TINY), 1.0).astype(np.float32)
    return Grid(scale, np.zeros(scale.shape, np.int8), axis)


def widened_for_bias(grid: Grid, bias: np.ndarray, data_scale: float) -> Grid:
    """The grid of a weight, coarser where a bias of scale `data_scale` times the weight's would leave 32 bits.

    A channel whose weights are next to nothing has a scale so small that its bias has no room.
    """
    least = np.abs(bias.astype(np.float64)) / (float(data_scale) * (_MOST // 2))
    scale = np.maximum(grid.scale.astype(np.float64), least if grid.axis is not None else least.max(initial=0.0))
    return Grid(scale.astype(np.float32), grid.zero_point, grid.axis)


def bias_steps(bias: np.ndarray, weight: Grid, data_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A bias as int32, and its scale for each channel: that of the sums it is added to."""
    scale = (weight.scale.astype(np.float64) * float(data_scale)).astype(np.float32)
    scale = np.broadcast_to(scale, bias.shape)
    steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    return np.clip(steps, -_MOST, _MOST).astype(np.int32), np.ascontiguousarray(scale)
