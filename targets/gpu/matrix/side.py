"""One factor of a contraction, as a kernel on matrices sees it: a matrix of lines by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, product
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.matrix.exact import HALF, SINGLE, exact_type, narrowed
from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES

WORD_BITS = 32


@dataclass(frozen=True, eq=False)
class Side:
    """The left factor, whose lines are the rows of the result, or the right one, whose lines are its columns."""

    source: Contraction
    factor: Factor
    lines: tuple[Dim, ...]
    """Sizes of the axes that make up a line's number."""

    @staticmethod
    def left(source: Contraction) -> Side:
        """That of the rows."""
        return Side(source, source.a, source.rows)

    @staticmethod
    def right(source: Contraction) -> Side:
        """That of the columns."""
        return Side(source, source.b, source.columns)

    @property
    def extent(self) -> Dim:
        """The number of lines."""
        return product(self.lines)

    @cached_property
    def element(self) -> str:
        """The narrowest type in which elements are exact."""
        return exact_type(self.factor.tensor, self.source.params)

    @property
    def value(self) -> Expr:
        """An element, in terms of the factor's variables: as float16 already where it is made wider at the very end."""
        (value,) = self.factor.tensor.op.body
        return value.value if self.element == HALF and isinstance(value, tirx.Cast) else value

    @property
    def chunk(self) -> int:
        """Elements in a chunk."""
        return CHUNK_BYTES * 8 // self.bits

    @property
    def bits(self) -> int:
        """Of an element."""
        return WORD_BITS if self.element == SINGLE else WORD_BITS // 2

    @cached_property
    def together_in_depth(self) -> int:
        """Neighbours in depth that are loaded at once, up to a chunk."""
        access = self.factor.access
        return 1 if access is None else access.vector(self.factor.depth_axes, self.chunk)

    @cached_property
    def together_in_lines(self) -> int:
        """Neighbours from line to line that are loaded at once, up to a chunk."""
        access = self.factor.access
        return 1 if access is None else access.vector(self.factor.side_axes, self.chunk)

    @property
    def lines_are_neighbours(self) -> bool:
        """Whether elements of neighbouring lines are side by side in memory."""
        access = self.factor.access
        return access is not None and access.run(self.factor.side_axes) > 1

    def packed(self, values: Sequence[Expr]) -> Expr:
        """A word, of type float32, from what it holds of elements, the first one lowest."""
        if len(values) == 1:
            return values[0]
        low, high = (narrowed(value, self.element) for value in values)
        return tirx.reinterpret(SINGLE, low | (high << tirx.const(WORD_BITS // 2, "uint32")))
