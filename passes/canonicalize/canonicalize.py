"""The pass: rules, folding, typing, common and dead code, until nothing changes."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.canonicalize import (
    batch_norm,
    branches,
    convolution,
    identities,
    matmul,
    packed_weights,
    pooling,
    raise_activation,
    raise_gelu,
    raise_norm,
    raise_softmax,
    reshapes,
    transposes,
)
from dsc.passes.canonicalize.cse import eliminate_common
from dsc.passes.canonicalize.dead import eliminate_dead
from dsc.passes.canonicalize.fold import fold_constants
from dsc.passes.canonicalize.retype import retype
from dsc.passes.canonicalize.shape_values import ShapeValues
from dsc.passes.driver import rewrite
from dsc.passes.rule import Rule

RULES: tuple[Rule, ...] = (
    *identities.RULES,
    *reshapes.RULES,
    *transposes.RULES,
    *branches.RULES,
    *convolution.RULES,
    *batch_norm.RULES,
    *matmul.RULES,
    *pooling.RULES,
    *raise_activation.RULES,
    *raise_gelu.RULES,
    *raise_norm.RULES,
    *raise_softmax.RULES,
)
"""All rules of canonicalization, in the order in which they are tried at an op."""

_MAX_ROUNDS = 10
"""Rounds end by themselves after two or three; each makes the graph smaller or its types more specific."""


@dataclass(frozen=True)
class Canonicalize(Pass):
    """One form for what can be written in many: fewer ops, constants folded, standard operators instead of
    their parts.

    keep_weights: whether weights of few bits stay so, for a pass that finds kernels for them (`weight-only`).
    """

    name = "canonicalize"
    keep_weights: bool = False

    def apply(self, graph: Graph, record: PassRecord) -> None:
        values = ShapeValues(graph)
        keeps = packed_weights.is_packed if self.keep_weights else None
        if self.keep_weights:
            rewrite(graph, packed_weights.RULES, record)
        for _ in range(_MAX_ROUNDS):
            before = record.fired.total()
            retyped = retype(graph, values)
            fold_constants(graph, values, record, keeps)
            values.forget()
            rewrite(graph, RULES, record)
            eliminate_common(graph, record)
            eliminate_dead(graph, record)
            values.forget()
            if not retyped and record.fired.total() == before:
                return
