"""One factor of a contraction, as a kernel on matrices sees it: a matrix of lines by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

from tvm import te, tirx
from tvm.ir import Expr
from xdsl.dialects.builtin import BFloat16Type, TensorType

from dsc.lower import rounding
from dsc.lower.exprs import Dim, is_integer, product, same
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.access import uses
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.zero_points import BYTES
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix.exact import HALF, SINGLE, TF32, UPPER_HALF, exact_type
from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES
from dsc.targets.tir.loops import spread

WORD_BITS = 32
PAIR = 2
"""Elements of 16 bits in a word."""
SIGN = 128
"""What makes an unsigned byte a signed one."""


@dataclass(frozen=True, eq=False)
class Side:
    """A matrix whose elements are multiplied: of the left factor, whose lines are the rows of the result, or of the
    right one, whose lines are its columns."""

    factor: Factor
    lines: tuple[Dim, ...]
    """Sizes of the axes that make up a line's number."""
    depth: tuple[Dim, ...]
    """Sizes of the axes that are summed over."""
    inputs: tuple[te.Tensor, ...]
    """What the factor is computed from."""
    element: str
    """The type in which elements are multiplied."""
    zero: te.Tensor | None = None
    """``[batch.., lines..]`` in int32: what is to be taken off of bytes; None is 0."""

    @property
    def extent(self) -> Dim:
        """The number of lines."""
        return product(self.lines)

    @property
    def deep(self) -> Dim:
        """The number of steps of depth."""
        return product(self.depth)

    @cached_property
    def exact(self) -> str:
        """The narrowest type in which elements are exact."""
        return exact_type(self.factor.tensor, self.inputs)

    @property
    def chunk(self) -> int:
        """Elements in a chunk."""
        return CHUNK_BYTES * 8 // self.bits

    @property
    def bits(self) -> int:
        """Of an element."""
        if self.element in BYTES:
            return 8
        return WORD_BITS if self.element in (TF32, SINGLE) else WORD_BITS // 2

    @property
    def is_shifted(self) -> bool:
        """Whether unsigned bytes are multiplied as signed ones: each less 128, and so is what is taken off of them."""
        return self.element in BYTES and str(self.factor.tensor.dtype) != self.element

    @property
    def is_centered(self) -> bool:
        """Whether something is to be taken off of what is multiplied."""
        return self.zero is not None or self.is_shifted

    @cached_property
    def together_in_depth(self) -> int:
        """Neighbours in depth that are loaded at once, up to a chunk."""
        return self._together(self.factor.depth_axes)

    @cached_property
    def together_in_lines(self) -> int:
        """Neighbours from line to line that are loaded at once, up to a chunk."""
        return self._together(self.factor.side_axes)

    @property
    def bytes(self) -> int:
        """Of an element in memory, or as it is multiplied where it is computed."""
        access = self.factor.access
        return self.bits // 8 if access is None else element_bytes(access.memory)

    @property
    def is_converted(self) -> bool:
        """Whether elements in memory are of another size than as they are multiplied."""
        return self.bytes * 8 != self.bits

    @cached_property
    def converted(self) -> int:
        """Neighbours in depth that are loaded at once, up to 16 bytes, where what is in memory is converted to what is
        multiplied; 1 where it is not."""
        access = self.factor.access
        if access is None or not self.is_converted or self.element in BYTES:
            return 1
        return access.vector(self.factor.depth_axes, min(self.chunk, CHUNK_BYTES // element_bytes(access.memory)))

    def _together(self, axes: range) -> int:
        """1 where what is in memory is not what is multiplied."""
        access = self.factor.access
        return 1 if access is None or self.is_converted else access.together(axes, self.chunk)

    @property
    def depth_is_side_by_side(self) -> bool:
        """Whether some neighbours in depth are side by side in memory."""
        access = self.factor.access
        return access is not None and access.run(self.factor.depth_axes) > 1

    @property
    def lines_are_neighbours(self) -> bool:
        """Whether elements of neighbouring lines are side by side in memory."""
        return self.apart == 1

    @property
    def is_window(self) -> bool:
        """Whether what is multiplied lies in windows of an image, which may reach beyond it."""
        access = self.factor.access
        return access is not None and access.inside is not None

    @property
    def is_loaded(self) -> bool:
        """Whether what is multiplied is what whole words of memory hold, everywhere."""
        access = self.factor.access
        together = max(self.together_in_depth, self.together_in_lines) * self.bits
        return access is not None and access.inside is None and self.zero is None and together >= WORD_BITS

    @cached_property
    def apart(self) -> int | None:
        """Neighbours in depth that are side by side in memory, up to where the next line begins; None where neither is
        known to be near."""
        access = self.factor.access
        if access is None:
            return None
        steps = [access.steps[axis] for axis in self.factor.side_axes if not same(access.sizes[axis], 1)]
        if not steps or not isinstance(steps[-1], int) or steps[-1] <= 0:
            return None
        return steps[-1] if steps[-1] == 1 else min(steps[-1], access.run(self.factor.depth_axes))

    def element_at(self, elements: Elements, at: Sequence[Expr]) -> Expr:
        """An element in the type in which it is multiplied, or the bits of that: rounded, where it is not exact."""
        tensor = self.factor.tensor
        if self.element == UPPER_HALF:
            return elements.at(self._upper_halves, at)
        if self.element != HALF:
            return elements.at(tensor, at)
        (value,) = tensor.op.body
        is_widened = isinstance(value, tirx.Cast) and str(value.value.expr_ty()) == HALF
        return elements.term(tensor.op, value.value, at, []) if is_widened else elements.at(tensor, at).astype(HALF)

    @property
    def origins_differ(self) -> bool:
        """Whether what is taken off is not the same for all lines."""
        if self.zero is None:
            return False
        (value,), axes = self.zero.op.body, self.factor.side_axes
        return any(uses(value, axis.var) for axis in self.zero.op.axis[axes.start : axes.stop])

    def zero_at(self, elements: Elements, at: Sequence[Expr]) -> Expr:
        """What is taken off of the bytes of a line as they are in memory."""
        return tirx.const(0, "int32") if self.zero is None else elements.at(self.zero, at)

    def origin_at(self, elements: Elements, at: Sequence[Expr]) -> Expr:
        """What is taken off of the bytes of a line as they are multiplied."""
        zero = self.zero_at(elements, at)
        return zero - tirx.const(SIGN, "int32") if self.is_shifted else zero

    @cached_property
    def _upper_halves(self) -> te.Tensor:
        """The elements as bfloat16, in their bits."""
        return rounding.narrowed(self.factor.tensor, TensorType(BFloat16Type(), []))


def packed(values: Sequence[Expr]) -> Expr:
    """A word, of type float32, from what it holds of elements, the first one lowest."""
    if len(values) == 1:
        return values[0]
    bits = WORD_BITS // len(values)
    parts = [_bits(value, f"uint{bits}").astype("uint32") for value in values]
    shifted = [part << tirx.const(i * bits, "uint32") for i, part in enumerate(parts)]
    return tirx.reinterpret(SINGLE, reduce(tirx.bitwise_or, shifted))


def _bits(value: Expr, dtype: str) -> Expr:
    """Those of an element; LLVM's code generator reinterprets no number that is 0."""
    return value.astype(dtype) if is_integer(value) else tirx.reinterpret(dtype, value)


def repeated(byte: Expr) -> Expr:
    """A word, of type float32, of which each byte is the lowest one of a number."""
    return tirx.reinterpret(SINGLE, byte.astype("uint8").astype("uint32") * tirx.const(0x01010101, "uint32"))


def with_signs(words: Expr, count: int) -> Expr:
    """So many words, of type float32, of unsigned bytes as signed ones, each 128 less."""
    of = "" if count == 1 else f"x{count}"
    signs = spread(tirx.const(0x80808080, "uint32"), count)
    return tirx.reinterpret(f"{SINGLE}{of}", tirx.bitwise_xor(tirx.reinterpret(f"uint32{of}", words), signs))


def joined(low: Expr, high: Expr, which: int) -> Expr:
    """One element of each of two words, the first or the second."""
    bits, mask = tirx.const(WORD_BITS // PAIR, "uint32"), tirx.const((1 << (WORD_BITS // PAIR)) - 1, "uint32")
    low, high = (tirx.reinterpret("uint32", word) for word in (low, high))
    if which:
        return tirx.reinterpret(SINGLE, (low >> bits) | (high & (mask << bits)))
    return tirx.reinterpret(SINGLE, (low & mask) | (high << bits))


def gathered(words: Sequence[Expr], which: int) -> Expr:
    """The `which`-th element of each of as many words as a word has elements, as a word."""
    if len(words) == 1:
        return words[0]
    if len(words) == PAIR:
        return joined(words[0], words[1], which)
    first, second = (_every_other(words[i], words[i + 1], which % PAIR) for i in (0, PAIR))
    return joined(first, second, which // PAIR)


def _every_other(low: Expr, high: Expr, first: int) -> Expr:
    """Of two words of bytes, those of even or of odd numbers, by turns."""
    even, bits = tirx.const(0x00FF00FF, "uint32"), tirx.const(8, "uint32")
    low, high = (tirx.reinterpret("uint32", word) for word in (low, high))
    if first:
        return tirx.reinterpret(SINGLE, ((low >> bits) & even) | (high & tirx.const(0xFF00FF00, "uint32")))
    return tirx.reinterpret(SINGLE, (low & even) | ((high & even) << bits))
