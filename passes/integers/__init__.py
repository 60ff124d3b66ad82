"""integers: quantized models keep their integers.

Models come quantized as QDQ: floats that are quantized and dequantized again at once, which says where integers are.
The products become integer products, and what only moves elements moves integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import rewrite
from dsc.passes.integers import clamps, linear, moves, products, requantize, tables, weights
from dsc.passes.rule import Rule

RULES: tuple[Rule, ...] = (*linear.RULES, *moves.RULES, *clamps.RULES, *weights.RULES, *products.RULES)
"""In the order in which they are tried at an op."""


@dataclass(frozen=True)
class Integers(Pass):
    """Makes integer products of dequantized factors, and lets dequantization wait for the op that needs floats.

    It comes before constants are folded: a weight of bytes that is dequantized is a constant too, of floats.
    """

    name: ClassVar[str] = "integers"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        rewrite(graph, RULES, record)


@dataclass(frozen=True)
class Requantize(Pass):
    """Where what was scaled is quantized at once, makes one scale of the two; after constants were folded.

    Shapes are known by then, so more is seen to only move bytes.
    """

    name: ClassVar[str] = "requantize"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        rewrite(graph, (*moves.RULES, *clamps.RULES, *tables.RULES, *requantize.RULES), record)
