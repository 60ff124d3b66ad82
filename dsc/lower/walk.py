"""A graph's dims and shape values, op by op, as code generation will find them."""

from __future__ import annotations

import numpy as np
from tvm import tirx
from xdsl.ir import Operation, SSAValue

from dsc.ir import FusionOp, dims_of
from dsc.lower import shape_values
from dsc.lower.exprs import Scalar
from dsc.lower.registry import operands_of
from dsc.lower.requirements import Required, located, undecided
from dsc.lower.requirements.requirement import of_divisions
from dsc.lower.te import interface
from dsc.lower.workload import Workload


class Walk:
    """Walks a graph as code generation does: dims and shape values flow from op to op."""

    def __init__(self) -> None:
        self.dims: dict[SSAValue, list[Scalar]] = {}
        self.known: dict[SSAValue, np.ndarray] = {}
        self.symbols: dict[str, tirx.Var] = {}
        self.requirements: list[Required] = []
        """Of the ops so far, in terms of the symbols."""

    def lower(self, op: Operation) -> None:
        """Work out the results of an op. Raises UnsupportedOpError where it cannot be lowered, or does not fit."""
        if not isinstance(op, FusionOp) and self._evaluate(op):
            return
        for value in op.operands:
            self.sizes(value)
        workload = Workload.of(op, {v: d for v in op.operands if (d := self.dims.get(v)) is not None}, self.known)
        found = interface(workload)
        self.requirements += found.requirements
        for result, shape in zip(op.results, found.shapes, strict=True):
            self.dims[result] = shape

    def _evaluate(self, op: Operation) -> bool:
        operands = operands_of(op)
        values = shape_values.evaluate(
            op,
            [None if v is None else self.known.get(v) for v in operands],
            [None if v is None else self.sizes(v) for v in operands],
        )
        if values is not None:
            self.known[op.results[0]] = values
            found = undecided(op, of_divisions(values.reshape(-1)))
            self.requirements += [(located(op), requirement) for requirement in found]
        return values is not None or op.name == "onnx.Constant"

    def sizes(self, value: SSAValue) -> list[Scalar] | None:
        """The dims of a value, by its type where no op has given them; None if its rank is not known."""
        if value not in self.dims and (dims := dims_of(value.type)) is not None:
            self.dims[value] = [self._symbol(d) if isinstance(d, str) else d for d in dims]
        return self.dims.get(value)

    def _symbol(self, name: str) -> tirx.Var:
        name = name or f"nameless{len(self.symbols)}"
        return self.symbols.setdefault(name, tirx.Var(name, "int64"))
