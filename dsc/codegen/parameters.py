"""The weights that the code takes, as the kernels want them; read when the artifact is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tvm import relax
from xdsl.ir import SSAValue

from dsc.elements import stored_dtype
from dsc.ir import Graph, WeightOp, element_of
from dsc.runtime.weights import Weight
from dsc.targets.kernel import Packing


@dataclass
class Parameters:
    """Collects weights while the module is built. The same weight packed the same way is one parameter."""

    graph: Graph
    weights: list[Weight] = field(default_factory=list)
    variables: list[relax.Var] = field(default_factory=list)
    """The parameters of the function, parallel to `weights`."""
    _known: dict[tuple[str, Packing | None, tuple[int, ...]], relax.Var] = field(default_factory=dict)

    def add(self, value: SSAValue, packing: Packing | None, shape: tuple[int, ...], dtype: str) -> relax.Var:
        """The parameter for a constant of the graph, in the shape that `packing` (if any) gives it. dtype: what kernels
        know its memory as."""
        element = element_of(value.type).dtype
        element = element if stored_dtype(element) == dtype else np.dtype(dtype)
        if isinstance(value.owner, WeightOp):
            return self._add(value.owner.weight, packing, shape, element, lambda: self._array(value))
        array = self._array(value)
        return self._add(_content_name(array), packing, shape, element, lambda: array)

    def add_array(self, array: np.ndarray) -> relax.Var:
        """The parameter for an array that is not in the graph."""
        return self._add(_content_name(array), None, array.shape, array.dtype, lambda: array)

    def _array(self, value: SSAValue) -> np.ndarray:
        array = self.graph.constant(value)
        assert array is not None
        return array

    def _add(
        self,
        name: str,
        packing: Packing | None,
        shape: tuple[int, ...],
        element: np.dtype[np.generic],
        load: Callable[[], np.ndarray],
    ) -> relax.Var:
        key = (name, packing, shape)
        if key not in self._known:
            number = len(self.variables)
            packed = load if packing is None else lambda: packing.apply(load())
            self.weights.append(Weight(f"{number}.{name}", element.name, shape, packed))
            self._known[key] = relax.Var(f"w{number}", relax.TensorType(shape, stored_dtype(element).name))
            self.variables.append(self._known[key])
        return self._known[key]


def _content_name(array: np.ndarray) -> str:
    """A name for a small constant: equal ones have the same."""
    return f"constant.{array.dtype}.{hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
