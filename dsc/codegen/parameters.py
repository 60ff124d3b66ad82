"""The weights that the code takes, as the kernels want them; read when the artifact is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tvm import relax
from xdsl.ir import SSAValue

from dsc.elements import stored, stored_dtype
from dsc.ir import Graph, WeightOp, element_of
from dsc.runtime.weights import Weight
from dsc.targets.kernel import ArrayType, Packing


@dataclass
class Parameters:
    """Collects weights while the module is built. The same weight packed the same way is one parameter."""

    graph: Graph
    weights: list[Weight] = field(default_factory=list)
    variables: list[relax.Var] = field(default_factory=list)
    """The parameters of the function, parallel to `weights`."""
    _known: dict[tuple[str, Packing | None, tuple[int, ...]], list[relax.Var]] = field(default_factory=dict)

    def add(self, value: SSAValue, packing: Packing | None, type_: ArrayType) -> list[relax.Var]:
        """The parameters for a constant of the graph: the arrays that `packing` makes of it, or the one that it is."""
        element = element_of(value.type).dtype
        if isinstance(value.owner, WeightOp):
            return self._add(value.owner.weight, packing, type_, element, lambda: self._array(value))
        array = self._array(value)
        return self._add(_content_name(array), packing, type_, element, lambda: array)

    def add_array(self, array: np.ndarray) -> relax.Var:
        """The parameter for an array that is not in the graph."""
        type_ = ArrayType(array.shape, stored_dtype(array.dtype).name)
        return self._add(_content_name(array), None, type_, array.dtype, lambda: array)[0]

    def _array(self, value: SSAValue) -> np.ndarray:
        array = self.graph.constant(value)
        assert array is not None
        return array

    def _add(
        self,
        name: str,
        packing: Packing | None,
        type_: ArrayType,
        element: np.dtype[np.generic],
        load: Callable[[], np.ndarray],
    ) -> list[relax.Var]:
        key = (name, packing, type_.shape)
        if key not in self._known:
            if packing is None:
                self._known[key] = [self._parameter(name, type_, element, load)]
            else:
                self._known[key] = [
                    self._parameter(name, part, np.dtype(part.dtype), _part(packing, load, position))
                    for position, part in enumerate(packing.arrays(type_))
                ]
        return self._known[key]

    def _parameter(
        self, name: str, type_: ArrayType, element: np.dtype[np.generic], load: Callable[[], np.ndarray]
    ) -> relax.Var:
        """One array: a weight of `element`s, or what a packing makes of it, which is of the kernel's own types."""
        number = len(self.variables)
        self.weights.append(Weight(f"{number}.{name}", element.name, type_.shape, load))
        self.variables.append(relax.Var(f"w{number}", relax.TensorType(type_.shape, type_.dtype)))
        return self.variables[-1]


def _part(packing: Packing, load: Callable[[], np.ndarray], position: int) -> Callable[[], np.ndarray]:
    """One array of a packed weight; packed anew for each, as only one is in memory at a time."""
    return lambda: stored(packing.apply(load())[position])


def _content_name(array: np.ndarray) -> str:
    """A name for a small constant: equal ones have the same."""
    return f"constant.{array.dtype}.{hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
