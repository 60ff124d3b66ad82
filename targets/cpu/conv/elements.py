"""How the elements of a convolution's input are multiplied: as they are in memory, or made so as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tvm import tirx
from tvm.ir import Expr

from dsc.elements import BY_DTYPE_NAME
from dsc.lower.rounding import rounded
from dsc.targets.cpu.gemm.product import in_memory
from dsc.targets.cpu.halves import widened
from dsc.targets.cpu.tile import reinterpreted

FLOAT32, BFLOAT16 = "float32", "bfloat16"


def itemsize(element: str) -> int:
    """Bytes of an element of a type."""
    return BY_DTYPE_NAME[element].dtype.itemsize


class Elements(Protocol):
    """Reads an input."""

    @property
    def multiplied(self) -> str:
        """The type as which elements are multiplied, as memory holds it: that of scratch."""
        ...

    @property
    def padding(self) -> Expr:
        """What stands for an element outside the image, as it is multiplied."""
        ...

    def of(self, value: Expr) -> Expr:
        """An element of the input, or a vector of them, as it is multiplied."""
        ...

    def first(self, vector: Expr, count: int) -> Expr:
        """The first elements of a vector as they are multiplied; 0 times what stands for the others is 0."""
        ...

    def corrected(self, total: Expr, channel: Expr) -> Expr:
        """The sum of an output channel, given that of what was multiplied."""
        ...


@dataclass(frozen=True)
class Floats:
    """`Elements` of float32 or bfloat16, multiplied as either of them."""

    element: str
    """Their own type."""
    factor: str
    """The type that an instruction takes."""

    @property
    def multiplied(self) -> str:
        """Bits of 16, where that is bfloat16."""
        return in_memory(self.factor)

    @property
    def padding(self) -> Expr:
        """Zero."""
        return tirx.const(0, self.multiplied)

    def of(self, value: Expr) -> Expr:
        """Widened exactly, or rounded."""
        if self.element == self.factor:
            return value
        return rounded(value) if self.factor == BFLOAT16 else widened(value)

    def first(self, vector: Expr, count: int) -> Expr:
        """Zeros for the others, of bfloat16, which may be infinite or no numbers; pairs are integers, so that LLVM
        takes them from memory with a broadcast."""
        lanes = vector.ty.dtype.lanes
        bits = np.where(np.arange(lanes) < count, 0xFFFF, 0).astype("<u2").view("<i4")
        masks = [tirx.const(int(mask), "int32") for mask in bits]
        mask = masks[0] if len(masks) == 1 else tirx.Shuffle(masks, [tirx.const(i, "int32") for i in range(len(masks))])
        return reinterpreted(tirx.bitwise_and(reinterpreted(vector, str(mask.ty)), mask), str(vector.ty))

    def corrected(self, total: Expr, channel: Expr) -> Expr:
        """The sum as it is."""
        return total
