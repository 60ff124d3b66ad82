"""fuse: ops become `dsc.fusion` regions, each the work of one kernel. One family a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import rewrite
from dsc.passes.fuse import (
    attention,
    conv,
    conv_1d,
    conv_transpose,
    dequantized,
    elementwise,
    leading_dims,
    lookup,
    matmul,
    norm,
    outer_products,
    pool,
    qkv,
    reduction,
    softmax,
)
from dsc.passes.fuse.outline import outline
from dsc.passes.fuse.pad import PadIntoConv
from dsc.passes.fuse.plan import Plan
from dsc.passes.rule import Rule

_RULES: tuple[Rule, ...] = (PadIntoConv(), *leading_dims.RULES, *conv_transpose.RULES, *conv_1d.RULES)
"""Rewrites that bring ops next to the anchor to which they belong."""


@dataclass(frozen=True)
class Fuse(Pass):
    """Forms the regions: lookups and attention first, then whatever has an anchor, then chains of what is left.

    max_epilogue: how many elementwise ops may follow an anchor in its region.
    max_chain: how many a chain without an anchor may have.
    merge_qkv: whether to make one product of the three projections of an attention.
    quantized_attention: whether the steps of an attention may be quantized, for kernels that have whole rows of scores.
    """

    name: ClassVar[str] = "fuse"

    max_epilogue: int = 24
    max_chain: int = 24
    merge_qkv: bool = True
    quantized_attention: bool = False

    def apply(self, graph: Graph, record: PassRecord) -> None:
        rewrite(graph, _RULES, record)
        if self.merge_qkv:
            qkv.merge(graph, record)
        dequantized.split(graph)
        plan = Plan(graph)
        lookup.form(plan)
        attention.form(plan, self.quantized_attention)
        for family in (conv, matmul, norm, softmax, reduction, pool):
            family.form(plan, self.max_epilogue)
        elementwise.form(plan, self.max_chain)
        outer_products.absorb(plan)
        dequantized.absorb(plan)
        dequantized.reunite(plan)
        outline(plan)
        for rule, count in Counter(f"{g.kind}: {g.rule}" for g in plan.groups).items():
            record.fire(rule, count)
