"""How a weight that is multiplied by bytes is packed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.elements import computed
from dsc.targets.cpu.gemm.panels import Panels
from dsc.targets.cpu.weight_only.packing import OfGroups
from dsc.targets.kernel import ArrayType


@dataclass(frozen=True)
class Bytes:
    """``[k, n]`` integers to panels of bytes, ``[n / columns, k / neighbours, columns * neighbours]``.

    Taking off `offset` makes them signed. Of 4 bits, a byte holds those of two steps, the first in its low half. Where
    bytes of activations are `shift` more than they stand for, what that adds to the sums of each group comes as a
    second array, negated: ``[n / columns, groups, columns]`` of int32. What is beyond `k` and `n` is 0.
    """

    columns: int
    neighbours: int
    bits: int
    size: int
    """Of a group; the last may be smaller."""
    shift: int
    offset: int = 0

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The panels, and what sums begin with."""
        k, n = weight.shape
        panels, steps, groups = -(-n // self.columns), -(-k // self.neighbours), -(-k // self.size)
        stored = ArrayType((panels, -(-steps * self.bits // 8), self.columns * self.neighbours), "int8")
        return (stored, *([ArrayType((panels, groups, self.columns), "int32")] if self.shift else []))

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copies."""
        integers = (computed(array).astype(np.int16) - self.offset).astype(np.int8)
        (panels,) = Panels(self.columns, self.neighbours, "int8").apply(integers)
        stored = panels if self.bits == 8 else _in_halves(panels)
        if not self.shift:
            return (stored,)
        sums = np.add.reduceat(integers, range(0, len(integers), self.size), axis=0, dtype=np.int32)
        return (stored, *OfGroups(self.columns, "int32").apply(-self.shift * sums))


@dataclass(frozen=True)
class ZeroPoints:
    """``[groups, n]`` zero points, less `offset`, to ``[n / columns, groups, columns]`` of float32, 0 beyond `n`."""

    columns: int
    offset: int

    def arrays(self, zeros: ArrayType) -> tuple[ArrayType, ...]:
        """The panels."""
        return OfGroups(self.columns, "float32").arrays(zeros)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copy."""
        return OfGroups(self.columns, "float32").apply(computed(array).astype(np.float32) - np.float32(self.offset))


def _in_halves(panels: np.ndarray) -> np.ndarray:
    """Two steps in each byte."""
    padded = np.pad(panels, [(0, 0), (0, panels.shape[1] % 2), (0, 0)]).view(np.uint8)
    return (padded[:, ::2] & 15 | padded[:, 1::2] << 4).view(np.int8)
