"""One walk over a graph: the dims and shape values of each op, in terms of the dims of the inputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from tvm import tirx
from xdsl.ir import Operation, SSAValue

from dsc.ir import FusionOp, Graph, WeightOp, dims_of
from dsc.lower import shape_values
from dsc.lower.exprs import Scalar
from dsc.lower.registry import operands_of
from dsc.lower.requirements import Required, located, undecided
from dsc.lower.requirements.requirement import of_divisions
from dsc.lower.te import Interface, interface
from dsc.lower.workload import Workload

Place: TypeAlias = tuple[int, int]
"""A dim of an input: its position and the axis."""


@dataclass(frozen=True)
class Evaluated:
    """An op of which no code is made: its result is a constant, or known at compile time."""

    requirements: list[Required]


@dataclass(frozen=True)
class Lowered:
    """An op that a kernel computes, or that is a view of its operand."""

    workload: Workload
    interface: Interface

    @property
    def requirements(self) -> list[Required]:
        """What must hold of sizes at run time."""
        return self.interface.requirements


class Walk:
    """Takes the ops of a graph in their order; dims and shape values flow from one to the next."""

    def __init__(self, graph: Graph) -> None:
        self.known: dict[SSAValue, np.ndarray] = {}
        """Values known at compile time: shapes and what is computed from them."""
        self.symbols: dict[str, tirx.Var] = {}
        """The variables of symbolic dims, one for each name; nameless dims of inputs are called `<input>.<axis>`."""
        self.places: dict[tirx.Var, Place] = {}
        """The dims of inputs that give the variables their values."""
        self._dims: dict[SSAValue, list[Scalar]] = {}
        for position, (value, name) in enumerate(zip(graph.inputs, graph.input_names, strict=True)):
            self._input(position, value, name)

    def lower(self, op: Operation) -> Evaluated | Lowered:
        """What becomes of an op. Raises UnsupportedOpError where it cannot be lowered, or does not fit."""
        if isinstance(op, WeightOp):
            return Evaluated([])
        if not isinstance(op, FusionOp) and (evaluated := self._evaluate(op)) is not None:
            return evaluated
        shapes = {value: sizes for value in op.operands if (sizes := self.sizes(value)) is not None}
        workload = Workload.of(op, shapes, self.known)
        found = interface(workload)
        self._dims.update(zip(op.results, found.shapes, strict=True))
        return Lowered(workload, found)

    def sizes(self, value: SSAValue) -> list[Scalar] | None:
        """The dims of a value, by its type where no op has given them; None if its rank is not known."""
        if value in self.known:
            return list(self.known[value].shape)
        if value not in self._dims and (dims := dims_of(value.type)) is not None:
            self._dims[value] = [self._size(f"nameless{len(self.symbols)}" if d == "" else d) for d in dims]
        return self._dims.get(value)

    def _input(self, position: int, value: SSAValue, name: str) -> None:
        """Inputs give the variables of their dims; those whose rank is not known have none."""
        dims = dims_of(value.type)
        if dims is None:
            return
        names = [d or f"{name}.{axis}" if isinstance(d, str) else d for axis, d in enumerate(dims)]
        self._dims[value] = [self._size(d) for d in names]
        for axis, size in enumerate(self._dims[value]):
            if isinstance(size, tirx.Var):
                self.places.setdefault(size, (position, axis))

    def _size(self, dim: int | str) -> Scalar:
        """A number, or the variable of a name."""
        return self.symbols.setdefault(dim, tirx.Var(identifier(dim), "int64")) if isinstance(dim, str) else dim

    def _evaluate(self, op: Operation) -> Evaluated | None:
        """Compute a shape value, if that is what `op` is."""
        operands = operands_of(op)
        known = [None if value is None else self.known.get(value) for value in operands]
        shapes = [None if value is None else self.sizes(value) for value in operands]
        values = shape_values.evaluate(op, known, shapes)
        if values is None:
            return Evaluated([]) if op.name == "onnx.Constant" else None
        self.known[op.results[0]] = values
        return Evaluated([(located(op), left) for left in undecided(op, of_divisions(values.reshape(-1)))])


def identifier(name: str) -> str:
    """`name` with what a symbol cannot hold replaced."""
    return re.sub(r"\W", "_", name)
