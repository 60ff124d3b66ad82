"""RewritePass: a pass that is nothing but rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import rewrite
from dsc.passes.rule import Rule


@dataclass(frozen=True)
class RewritePass(Pass):
    """Applies `rules` until none fires. Subclass it with a `name` and `rules`."""

    rules: ClassVar[tuple[Rule, ...]]

    def apply(self, graph: Graph, record: PassRecord) -> None:
        rewrite(graph, self.rules, record)
