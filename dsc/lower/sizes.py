"""What a model as it was written requires of the sizes of its inputs: rewrites may leave nothing that asks for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from tvm import tirx
from xdsl.ir import Operation

from dsc.ir import Graph
from dsc.lower.registry import MisfitError
from dsc.lower.requirements import Required
from dsc.lower.walk import Place, Walk

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SizeRequirements:
    """Requirements in terms of variables, and the dims that those are."""

    places: Mapping[tirx.Var, Place] = field(default_factory=dict)
    required: tuple[Required, ...] = ()


def size_requirements(graph: Graph) -> SizeRequirements:
    """Of all ops that a result of `graph` depends on and that can be lowered as they are.

    Raises MisfitError for what cannot fit. Where all sizes are known there is nothing to require.
    """
    walk = Walk(graph)
    if not walk.places:
        return SizeRequirements()
    required = [found for op in _live(graph) for found in _required(walk, op)]
    return SizeRequirements(walk.places, tuple(required))


def _live(graph: Graph) -> list[Operation]:
    """The ops that a result depends on."""
    wanted = set(graph.outputs)
    live: list[Operation] = []
    for op in reversed(list(graph.ops())):
        if wanted.intersection(op.results):
            live.insert(0, op)
            wanted.update(op.operands)
            wanted.update(value for region in op.regions for inner in region.walk() for value in inner.operands)
    return live


def _required(walk: Walk, op: Operation) -> list[Required]:
    try:
        return walk.lower(op).requirements
    except MisfitError:
        raise
    except Exception as error:
        # Passes may still rewrite it; what stands in the way of compiling it then is said then.
        _LOG.debug("%s: sizes are not checked as written: %s", op.name, error)
        return []
