"""Where the pixels lie that a strip of a convolution's result reads, so that each tap is one offset.

Scratch has the pixels of each input channel side by side, in rows of one pitch with their padding. Pixel ``y * pitch +
x`` of the result reads, for a tap, the same place plus the tap's offset: strides are no obstacle where each phase of
rows and columns (even ones and odd ones, of stride 2) has a plane of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dsc.lower.exprs import ceildiv
from dsc.targets.cpu.conv.problem import Convolution


@dataclass(frozen=True)
class Columns:
    """Of one phase of columns: scratch columns ``begin .. end - 1`` are in the image, others are padding."""

    begin: int
    end: int
    first: int
    """Column of the image that `begin` is; the next is a stride further."""


@dataclass(frozen=True)
class Plane:
    """Scratch of one channel for a strip of rows of the result. The sizes of the image are known."""

    conv: Convolution
    rows: int
    """Of the result in a strip."""
    slack: int
    """Elements after each channel: what is copied in whole vectors may run over."""

    @cached_property
    def taps(self) -> tuple[int, ...]:
        """Offsets of the filter's taps, row by row."""
        return tuple(self._tap(ky, kx) for ky in range(self.conv.kernel[0]) for kx in range(self.conv.kernel[1]))

    def _tap(self, ky: int, kx: int) -> int:
        down, right = self._split(ky, 0), self._split(kx, 1)
        return self.start(self.phases.index((down[1], right[1]))) + down[0] * self.pitch + right[0]

    def _split(self, tap: int, axis: int) -> tuple[int, int]:
        """How many rows (or columns) of its phase a tap is further, and the phase."""
        return divmod(tap * self.conv.dilations[axis], self.conv.strides[axis])

    @cached_property
    def phases(self) -> tuple[tuple[int, int], ...]:
        """Of rows and columns, those that taps read."""
        kh, kw = self.conv.kernel
        return tuple(sorted({(self._split(y, 0)[1], self._split(x, 1)[1]) for y in range(kh) for x in range(kw)}))

    @cached_property
    def pitch(self) -> int:
        """From one row to the next."""
        width = self.conv.ow
        assert isinstance(width, int)
        return width + max(self._split(x, 1)[0] for x in range(self.conv.kernel[1]))

    @cached_property
    def lines(self) -> int:
        """Rows of each phase."""
        return self.rows + max(self._split(y, 0)[0] for y in range(self.conv.kernel[0]))

    def start(self, phase: int) -> int:
        """Where a phase begins in a channel."""
        return phase * self.lines * self.pitch

    @property
    def size(self) -> int:
        """From one channel to the next."""
        return self.start(len(self.phases)) + self.slack

    @property
    def pixels(self) -> int:
        """Of the result in a strip, with those between the rows."""
        return (self.rows - 1) * self.pitch + int(self.conv.ow)

    def columns(self, phase: int) -> Columns:
        """Those of a phase of columns that are in the image."""
        conv, stride = self.conv, self.conv.strides[1]
        width, left = int(conv.w), conv.pads.left
        begin = max(0, ceildiv(left - phase, stride))
        end = max(begin, min(self.pitch, (width - 1 + left - phase) // stride + 1))
        return Columns(begin, end, begin * stride + phase - left)

    @property
    def seamless(self) -> bool:
        """Whether rows follow each other as they do in the image."""
        return self.conv.pointwise
