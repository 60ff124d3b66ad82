"""weight-only: weights of 2, 4 and 8 bits stay so, for kernels that make floats of them in registers.

A model whose activations are floats has its weights as integers to be small and, where few rows are multiplied, fast:
what takes the time then is reading weights. Folding constants would make floats of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.canonicalize.dead import eliminate_dead
from dsc.passes.canonicalize.fold import fold_constants
from dsc.passes.canonicalize.shape_values import ShapeValues
from dsc.passes.driver import rewrite
from dsc.passes.rule import Rule
from dsc.passes.weight_only import factors, tables
from dsc.passes.weight_only.groups import is_grouped
from dsc.passes.weight_only.rows import QuantizeRows

__all__ = ["RULES", "QuantizeRows", "WeightOnly"]

RULES: tuple[Rule, ...] = (*factors.RULES, *tables.RULES)
"""In the order in which they are tried at an op."""


@dataclass(frozen=True)
class WeightOnly(Pass):
    """Gives dequantized weights the one form that kernels take, and makes floats of all others.

    After `canonicalize{keep-weights=true}`, which leaves them, and what computes in half precision was widened.
    """

    name: ClassVar[str] = "weight-only"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        rewrite(graph, RULES, record)
        fold_constants(graph, ShapeValues(graph), record, is_grouped)
        eliminate_dead(graph, record)
