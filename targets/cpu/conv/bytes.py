"""Bytes as an instruction multiplies them, and what that adds to the sums.

A convolution of bytes is ``sum of (x - zero) w`` in int32 (ONNX, ConvInteger). Instructions multiply bytes as they are,
of one sign only: ``sum of (x' - origin) w = sum of x' w - origin * sum of w``, where x' is x with the other sign, 128
more or less, and so is the origin. Padding is the origin, so that the sum of the weights is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.tir.loops import spread

SIGN = 128
"""What makes a signed byte an unsigned one, and back."""


@dataclass(frozen=True)
class Bytes:
    """How the bytes of one input are multiplied."""

    multiplied: str
    """The type as which they are."""
    flipped: bool
    """Whether that is not their own: the highest bit of each changes."""
    padding: Expr
    """The origin as such a byte."""
    origin: Expr
    """In int32; a constant 0 where nothing has to be taken off the sums."""
    sums: tirx.Buffer
    """Of the weights of each output channel."""

    @staticmethod
    def declared(element: str, multiplied: str, zero: tirx.Buffer | None, sums: tirx.Buffer) -> Bytes:
        """Reads the zero point, where there is one, in the open function."""
        flipped = element != multiplied
        shift = 0 if not flipped else SIGN if multiplied == "uint8" else -SIGN
        if zero is None:
            return Bytes(multiplied, flipped, tirx.const(shift, multiplied), tirx.const(shift, "int32"), sums)
        value = zero[tuple(0 for _ in zero.shape)]
        origin = T.Bind(value.astype("int32") + shift)
        return Bytes(multiplied, flipped, T.Bind(origin.astype(multiplied)), origin, sums)

    def of(self, value: Expr) -> Expr:
        """A byte of the input, or a vector of them, as it is multiplied."""
        if not self.flipped:
            return value
        dtype = value.ty.dtype
        highest = spread(
            tirx.const(SIGN if str(dtype).startswith("u") else -SIGN, str(value.ty).split("x")[0]), dtype.lanes
        )
        vector = f"{self.multiplied}x{dtype.lanes}" if dtype.lanes > 1 else self.multiplied
        return tirx.reinterpret(vector, tirx.bitwise_xor(value, highest))

    def corrected(self, total: Expr, channel: Expr) -> Expr:
        """The sum of an output channel without what the origin adds to it."""
        if isinstance(self.origin, tirx.IntImm) and int(self.origin) == 0:
            return total
        return total - self.origin * self.sums[channel]
