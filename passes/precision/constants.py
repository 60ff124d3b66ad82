"""Constants in half precision: which may be, and making them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import Float32Type, TensorType
from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, with_elements


def is_float32(value: SSAValue) -> bool:
    """Whether a value is a tensor of float32, of any shape."""
    return isinstance(value.type, TensorType) and isinstance(value.type.element_type, Float32Type)


class Fit(Enum):
    """How the numbers of a constant lie to the range of a type."""

    WITHIN = auto()
    """Rounding leaves each within half a unit of the largest one's precision: small ones beside it do no harm."""
    BEYOND = auto()
    """A finite number would become infinite: a mask of -1e9."""
    TINY = auto()
    """All would lose digits, or become 0: an epsilon of 1e-12."""


def fit(array: np.ndarray, dtype: np.dtype[np.generic]) -> Fit:
    """How an array of floats lies to the range of `dtype`; infinities and NaN are in all types."""
    magnitude = np.abs(array[np.isfinite(array)])
    if not magnitude.size or not magnitude.any():
        return Fit.WITHIN
    largest = magnitude.max()
    with np.errstate(over="ignore"):
        rounded = largest.astype(dtype)
    if not np.isfinite(rounded):
        return Fit.BEYOND
    least = float(ml_dtypes.finfo(dtype).smallest_normal)  # type: ignore[no-untyped-call]
    return Fit.TINY if largest < least else Fit.WITHIN


@dataclass
class HalfConstants:
    """The constants of a graph in half precision, each made once, where the float32 one is."""

    graph: Graph
    dtype: np.dtype[np.generic]
    _made: dict[SSAValue, SSAValue] = field(default_factory=dict)

    def of(self, value: SSAValue) -> SSAValue:
        """The twin of a float32 constant that fits."""
        if value not in self._made:
            owner, array = value.owner, self.graph.constant(value)
            assert isinstance(owner, Operation)
            assert owner.parent is not None
            assert array is not None
            op = self.graph.make_constant(array.astype(self.dtype), value.name_hint or "weight")
            twin = op.results[0]
            twin._type = with_elements(value.type, self.dtype)
            owner.parent.insert_op_after(op, owner)
            self._made[value] = twin
        return self._made[value]
