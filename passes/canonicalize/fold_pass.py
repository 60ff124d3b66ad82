"""The pass: constants only, for the level that leaves the operators as they are."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.canonicalize.dead import eliminate_dead
from dsc.passes.canonicalize.fold import fold_constants
from dsc.passes.canonicalize.retype import retype
from dsc.passes.canonicalize.shape_values import ShapeValues

_MAX_ROUNDS = 10


@dataclass(frozen=True)
class Fold(Pass):
    """Computes what is constant, shapes included, and leaves all other ops as they are.

    Lowerings read shapes, axes and pads at compile time; exporters and the definitions of operators compute them.
    """

    name = "fold"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        values = ShapeValues(graph)
        for _ in range(_MAX_ROUNDS):
            retyped = retype(graph, values)
            folded = fold_constants(graph, values, record)
            eliminate_dead(graph, record)
            values.forget()
            if not retyped and not folded:
                return
