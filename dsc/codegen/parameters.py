"""The weights that the code takes, as the kernels want them; read when the artifact is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from tvm import relax
from xdsl.ir import SSAValue

from dsc.ir import Graph, WeightOp
from dsc.runtime.weights import Weight
from dsc.targets.kernel import Packing


@dataclass
class Parameters:
    """Collects weights while the module is built. The same weight packed the same way is one parameter."""

    graph: Graph
    weights: list[Weight] = field(default_factory=list)
    variables: list[relax.Var] = field(default_factory=list)
    """The parameters of the function, parallel to `weights`."""
    _known: dict[tuple[str, Packing | None], relax.Var] = field(default_factory=dict)

    def add(self, value: SSAValue, packing: Packing | None, shape: tuple[int, ...], dtype: str) -> relax.Var:
        """The parameter for a constant of the graph, in the shape that `packing` (if any) gives it."""
        if isinstance(value.owner, WeightOp):
            return self._add(value.owner.weight, packing, shape, dtype, lambda: self._array(value))
        return self.add_array(self._array(value), packing, shape, dtype)

    def add_array(
        self,
        array: np.ndarray,
        packing: Packing | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: str = "",
    ) -> relax.Var:
        """The parameter for a small constant."""
        name = (
            "constant."
            + hashlib.sha256(repr((array.dtype, array.shape, array.tobytes())).encode()).hexdigest()[:16]
        )
        return self._add(
            name, packing, array.shape if shape is None else shape, dtype or array.dtype.name, lambda: array
        )

    def _array(self, value: SSAValue) -> np.ndarray:
        array = self.graph.constant(value)
        assert array is not None
        return array

    def _add(
        self, name: str, packing: Packing | None, shape: tuple[int, ...], dtype: str, load: object
    ) -> relax.Var:
        key = (name, packing)
        if key not in self._known:
            unique = name if packing is None else f"{name}#{sum(known == name for known, _ in self._known)}"
            source = load

            def packed() -> np.ndarray:
                array = source()  # type: ignore[operator]
                return array if packing is None else packing.apply(array)

            self.weights.append(Weight(unique, dtype, shape, packed))
            self._known[key] = relax.Var(f"w{len(self.variables)}", relax.TensorType(shape, dtype))
            self.variables.append(self._known[key])
        return self._known[key]
