"""Ops without effect whose results nobody uses."""

from __future__ import annotations

from dsc.ir import Graph
from dsc.passes.base import PassRecord
from dsc.passes.driver import erase_if_dead, walk


def eliminate_dead(graph: Graph, record: PassRecord) -> None:
    """Erase them, last first, so that chains vanish whole."""
    for op in reversed(list(walk(graph.func.body))):
        if op.parent is not None:
            erase_if_dead(op)
            if op.parent is None:
                record.fire("unused => nothing")
