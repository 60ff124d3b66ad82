"""Bytes as they are multiplied, and what that adds to the sums.

A convolution of bytes is ``sum of (x - zero) w`` in int32 (ONNX, ConvInteger). Where bytes become wider numbers first,
the zero point is taken off each. Instructions that multiply bytes as they are take one sign only, and the zero point
comes off the sums: ``sum of (x' - origin) w = sum of x' w - origin * sum of w``, where x' is x with the sign that is
wanted, 128 more or less, and so is the origin. Padding is the origin, so that the sum of the weights is the same
everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.tile import as_elements, reinterpreted
from dsc.targets.tir.loops import spread

SIGN = 128
"""What makes a signed byte an unsigned one, and back."""


@dataclass(frozen=True)
class Bytes:
    """How the bytes of one input are multiplied."""

    element: str
    """Their own type."""
    multiplied: str
    """The type as which they are multiplied: of bytes, or a wider one that holds all differences of two."""
    zero: Expr | None
    """The zero point in int32; None where it is 0."""
    sums: tirx.Buffer | None
    """Of the weights of each output channel; None where the zero point is taken off each byte."""

    @staticmethod
    def declared(element: str, multiplied: str, zero: tirx.Buffer | None, sums: tirx.Buffer | None = None) -> Bytes:
        """Reads the zero point, where there is one, in the open function."""
        value = None if zero is None else T.Bind(zero[tuple(0 for _ in zero.shape)].astype("int32"))
        return Bytes(element, multiplied, value, sums)

    @property
    def padding(self) -> Expr:
        """What stands for an element outside the image."""
        if self._is_wide:
            return tirx.const(0, self.multiplied)
        return self._origin.astype(self.multiplied)

    def of(self, value: Expr) -> Expr:
        """A byte of the input, or a vector of them, as it is multiplied."""
        lanes = value.ty.dtype.lanes
        if self._is_wide:
            wide = as_elements(value, self.multiplied)
            return wide if self.zero is None else wide - spread(self.zero.astype(self.multiplied), lanes)
        if not self._shift:
            return value
        signed = reinterpreted(value, _vector("int8", lanes))
        flipped = tirx.bitwise_xor(signed, spread(tirx.const(-SIGN, "int8"), lanes))
        return reinterpreted(flipped, _vector(self.multiplied, lanes))

    def first(self, vector: Expr, count: int) -> Expr:
        """All of them: 0 times any byte is 0."""
        return vector

    def corrected(self, total: Expr, channel: Expr) -> Expr:
        """The sum of an output channel, in int32, without what the origin adds to it."""
        total = total if str(total.ty) == "int32" else total.astype("int32")
        if self._is_wide or (self.zero is None and not self._shift):
            return total
        assert self.sums is not None
        return total - self._origin * self.sums[channel]

    @property
    def _is_wide(self) -> bool:
        return self.multiplied not in ("int8", "uint8")

    @property
    def _shift(self) -> int:
        """What is added to each byte."""
        if self.element == self.multiplied:
            return 0
        return SIGN if self.multiplied == "uint8" else -SIGN

    @property
    def _origin(self) -> Expr:
        """The zero point as the bytes are multiplied, in int32."""
        shift = tirx.const(self._shift, "int32")
        return shift if self.zero is None else self.zero + shift


def _vector(element: str, lanes: int) -> str:
    return element if lanes == 1 else f"{element}x{lanes}"
