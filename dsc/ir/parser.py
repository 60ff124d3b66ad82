"""xDSL's parser, with the infinities and NaNs of dense constants.

MLIR prints them as bits (`dense<0xFF800000>`), and so does xDSL, but it reads the bits as a number: -inf would
come back as 4.3e9.
"""

from __future__ import annotations

import math
import struct

from xdsl.parser import Parser
from xdsl.parser.attribute_parser import AttrParser


class GraphParser(Parser):
    """A parser that reads back what the printer writes."""

    def _parse_tensor_literal_element(self) -> AttrParser._TensorLiteralElement:
        digits = self._current_token.text.lower()
        element = super()._parse_tensor_literal_element()
        if digits.startswith("0x") and isinstance(element.value, int):
            element.value = _Bits(element.value, (len(digits) - 2) // 2)
        return element


class _Bits(int):
    """An integer that is the bits of a float of `size` bytes, should it turn out to be one of floats."""

    size: int

    def __new__(cls, value: int, size: int) -> _Bits:
        bits = super().__new__(cls, value)
        bits.size = size
        return bits

    def __float__(self) -> float:
        if (self.size, self) in _INFINITIES:
            return _INFINITIES[self.size, self]
        formats = {2: ("e", "H"), 4: ("f", "I"), 8: ("d", "Q")}
        if self.size not in formats:
            return math.nan
        as_float, as_int = formats[self.size]
        (value,) = struct.unpack(as_float, struct.pack(as_int, int(self)))
        return float(value)


_INFINITIES = {(1, 0x7C): math.inf, (1, 0xFC): -math.inf, (2, 0x7F80): math.inf, (2, 0xFF80): -math.inf}
"""Those of f8E5M2 and bfloat16, by size and bits: NaN in other types of these sizes, of which none is printed so."""
