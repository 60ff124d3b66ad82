"""One factor of a contraction, as a kernel on matrices sees it: a matrix of lines by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx
from tvm.ir import Expr
from xdsl.dialects.builtin import BFloat16Type, TensorType

from dsc.lower import rounding
from dsc.lower.exprs import Dim, product
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix.exact import HALF, SINGLE, TF32, UPPER_HALF, exact_type
from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES

WORD_BITS = 32


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
        return WORD_BITS if self.element == TF32 else WORD_BITS // 2

    @cached_property
    def together_in_depth(self) -> int:
        """Neighbours in depth that are loaded at once, up to a chunk."""
        return self._together(self.factor.depth_axes)

    @cached_property
    def together_in_lines(self) -> int:
        """Neighbours from line to line that are loaded at once, up to a chunk."""
        return self._together(self.factor.side_axes)

    def _together(self, axes: range) -> int:
        """1 where what is in memory is not what is multiplied."""
        access = self.factor.access
        return (
            1 if access is None or element_bytes(access.memory) * 8 != self.bits else access.together(axes, self.chunk)
        )

    @property
    def lines_are_neighbours(self) -> bool:
        """Whether elements of neighbouring lines are side by side in memory."""
        access = self.factor.access
        return access is not None and access.run(self.factor.side_axes) > 1

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

    @cached_property
    def _upper_halves(self) -> te.Tensor:
        """The elements as bfloat16, in their bits."""
        return rounding.narrowed(self.factor.tensor, TensorType(BFloat16Type(), []))


def packed(values: Sequence[Expr]) -> Expr:
    """A word, of type float32, from what it holds of elements, the first one lowest."""
    if len(values) == 1:
        return values[0]
    low, high = (tirx.reinterpret("uint16", value).astype("uint32") for value in values)
    return tirx.reinterpret(SINGLE, low | (high << tirx.const(WORD_BITS // 2, "uint32")))
