"""Constants in half precision: which may be, and making them."""

from __future__ import annotations

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import Float32Type, TensorType
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.ir import Graph, element_of_dtype


def is_float32(value: SSAValue) -> bool:
    """Whether a value is a tensor of float32, of any shape."""
    return isinstance(value.type, TensorType) and isinstance(value.type.element_type, Float32Type)


def halved(type_: Attribute, dtype: np.dtype[np.generic]) -> TensorType[Attribute]:
    """The tensor type with elements of `dtype`; dims and what it says of the contents stay."""
    assert isinstance(type_, TensorType), "only values that are float32 tensors are stored in half precision"
    return TensorType(element_of_dtype(dtype).mlir, type_.get_shape(), type_.encoding)


def fits(array: np.ndarray, dtype: np.dtype[np.generic]) -> bool:
    """Whether rounding to `dtype` leaves each element within half a unit of the largest one's precision.

    It does not where a finite number is beyond the range (a mask of -1e9), nor where all of them are so small that
    they have no, or fewer, digits there (an epsilon of 1e-12). Elements that are small beside others do no harm.
    """
    magnitude = np.abs(array[np.isfinite(array)])
    if not magnitude.size or not magnitude.any():
        return True
    limits, largest = ml_dtypes.finfo(dtype), magnitude.max()
    with np.errstate(over="ignore"):
        within = np.isfinite(largest.astype(dtype))
    return bool(within and largest >= float(limits.smallest_normal))


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
            twin._type = halved(value.type, self.dtype)
            owner.parent.insert_op_after(op, owner)
            self._made[value] = twin
        return self._made[value]
