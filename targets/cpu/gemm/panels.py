"""How a constant right operand is packed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.elements import BY_DTYPE_NAME, stored
from dsc.targets.cpu.gemm.product import in_memory
from dsc.targets.kernel import ArrayType


@dataclass(frozen=True)
class Panels:
    """``[.., k, n]``, or its transpose, to ``[.., n / columns, k / neighbours, columns * neighbours]``.

    Of each column, `neighbours` elements lie side by side, as instructions want them that add several products at
    once. What is beyond `k` and `n` is 0.
    """

    columns: int
    neighbours: int
    dtype: str
    """Of the elements, as they are packed: others are rounded to it."""
    transposed: bool = False
    sums: bool = False
    """Whether the sums of all columns come as a second array, in int32."""

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The panels, and the sums."""
        *batch, k, n = self._swapped(weight.shape)
        shape = (*batch, -(-n // self.columns), -(-k // self.neighbours), self.columns * self.neighbours)
        panels = ArrayType(shape, in_memory(self.dtype))
        return (panels, ArrayType((*batch, n), "int32")) if self.sums else (panels,)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copy, and the sums."""
        rounded = stored(array.astype(BY_DTYPE_NAME[self.dtype].dtype, copy=False))
        matrix = rounded.swapaxes(-1, -2) if self.transposed else rounded
        *batch, k, n = matrix.shape
        filled = [(0, 0)] * len(batch) + [(0, -k % self.neighbours), (0, -n % self.columns)]
        padded = np.pad(matrix, filled) if any(after for _, after in filled) else matrix
        split = padded.reshape(*batch, -(-k // self.neighbours), self.neighbours, -1, self.columns)
        lead = range(len(batch))
        packed = split.transpose(*lead, *(len(batch) + axis for axis in (2, 0, 3, 1)))
        (panels, *_) = self.arrays(ArrayType(array.shape, str(array.dtype)))
        made = np.ascontiguousarray(packed).reshape(panels.shape)
        return (made, matrix.sum(axis=-2, dtype=np.int32)) if self.sums else (made,)

    def _swapped(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-2], shape[-1], shape[-2]) if self.transposed else shape
