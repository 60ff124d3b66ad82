"""float16 as integers, for processors without instructions that convert it: LLVM would call a routine for each element.

Conversions are arithmetic on whole vectors of bits, as F16C's: to the nearest, ties to even; subnormal numbers exactly;
NaN stays one, with what fits of its payload, and becomes quiet.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm_ffi.structural import StructuralMutator

from dsc.targets.tir.loops import spread

_LOST = 13
"""Bits that a mantissa of float32 has more."""
_SIGN = 0x8000
_INFINITY, _QUIET = 0x7C00, 0x0200
"""Of float16."""
_INFINITY32, _QUIET32 = 0x7F800000, 0x00400000
_REBIAS = 112
"""The exponents' biases are 127 and 15."""
_LEAST_NORMAL = (_REBIAS + 1) << 23
"""2^-14, in float32."""
_HALF = 0x3F000000
"""0.5 in float32, whose last bit is 2^-24, as that of subnormal float16: a sum with it is rounded to that."""


def integer_conversions(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Casts between float16 and float32, of scalars and vectors, as arithmetic on integers.

    For functions that no pass simplifies any more: TVM takes floats for reals.
    """

    def cast(node: tirx.Cast, mutator: StructuralMutator) -> Expr:
        value = mutator.mutate(node.value)
        given, wanted = _element(value), _element(node)
        if "float16" not in (given, wanted) or given == wanted:
            return tirx.Cast(node.ty, value)
        lanes = _Lanes(value.ty.dtype.lanes)
        single = lanes.to_float32(value) if given == "float16" else value.astype(lanes.type("float32"))
        return lanes.to_float16(single) if wanted == "float16" else single.astype(lanes.type(wanted))

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.Cast, cast)]))


def _element(value: Expr) -> str:
    return str(value.ty).partition("x")[0]


class _Lanes:
    """Arithmetic on so many elements."""

    def __init__(self, count: int) -> None:
        self.count = count

    def type(self, element: str) -> str:
        """The type of so many."""
        return element if self.count == 1 else f"{element}x{self.count}"

    def to_float32(self, half: Expr) -> Expr:
        """The exponent is shifted to its place and corrected by a product, which also makes subnormals normal."""

        def made(bits: Expr) -> Expr:
            magnitude = (bits & self._int(_SIGN - 1)) << self._int(_LOST)
            scale = spread(tirx.const(2.0**_REBIAS, "float32"), self.count)
            finite = self._bits(tirx.reinterpret(self.type("float32"), magnitude) * scale)
            is_nan = (bits & self._int(_SIGN - 1)) > self._int(_INFINITY)
            special = magnitude | tirx.Select(is_nan, self._int(_INFINITY32 | _QUIET32), self._int(_INFINITY32))
            is_special = (bits & self._int(_INFINITY)) >= self._int(_INFINITY)
            sign = (bits & self._int(_SIGN)) << self._int(16)
            return tirx.reinterpret(self.type("float32"), tirx.Select(is_special, special, finite) | sign)

        wide = tirx.reinterpret(self.type("uint16"), half).astype(self.type("int32"))
        return self._bound(wide, made)

    def to_float16(self, single: Expr) -> Expr:
        """Of what is normal the mantissa is rounded by an addition of integers, of what is not by one of floats."""

        def made(bits: Expr) -> Expr:
            return self._bound(bits & self._int(0x7FFFFFFF), lambda magnitude: self._narrowed(bits, magnitude))

        return self._bound(self._bits(single), made)

    def _narrowed(self, bits: Expr, magnitude: Expr) -> Expr:
        odd = (magnitude >> self._int(_LOST)) & self._int(1)
        finite = tirx.Min(magnitude, self._int(_INFINITY32))  # NaNs would leave the range of int32
        rounded = finite + (self._int((1 << (_LOST - 1)) - 1 - (_REBIAS << 23)) + odd)
        normal = tirx.Min(rounded >> self._int(_LOST), self._int(_INFINITY))
        half = spread(tirx.const(0.5, "float32"), self.count)
        summed = self._bits(tirx.reinterpret(self.type("float32"), magnitude) + half)
        number = tirx.Select(magnitude < self._int(_LEAST_NORMAL), summed - self._int(_HALF), normal)
        payload = (magnitude >> self._int(_LOST)) & self._int(_QUIET - 1)
        nan = payload | self._int(_INFINITY | _QUIET)
        found = tirx.Select(magnitude > self._int(_INFINITY32), nan, number)
        sign = (bits >> self._int(16)) & self._int(_SIGN)
        return tirx.reinterpret(self.type("float16"), (found | sign).astype(self.type("uint16")))

    def _bits(self, single: Expr) -> Expr:
        return tirx.reinterpret(self.type("int32"), single)

    def _int(self, value: int) -> Expr:
        return spread(tirx.const(value, "int32"), self.count)

    def _bound(self, value: Expr, use: Callable[[Expr], Expr]) -> Expr:
        """`use(value)`, with `value` computed once."""
        variable = tirx.Var("bits", value.ty)
        return tirx.Let(variable, value, use(variable))
