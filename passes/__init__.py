"""Graph rewrites: passes, pipelines of them, and rules (pattern / check / rewrite). See
docs/writing-a-pass.md."""

from __future__ import annotations

from dsc.passes.base import NearMiss, Pass, PassError, PassRecord
from dsc.passes.driver import erase_if_dead, replace_op, rewrite, walk
from dsc.passes.pattern import const, either, maybe, ops, rounded, scalar, value, values
from dsc.passes.pipeline import Observer, Pipeline, dump_phases, print_after
from dsc.passes.registry import pass_class, pass_names, register_pass
from dsc.passes.rewrite_pass import RewritePass
from dsc.passes.rule import Match, Rule

__all__ = [
    "Match",
    "NearMiss",
    "Observer",
    "Pass",
    "PassError",
    "PassRecord",
    "Pipeline",
    "RewritePass",
    "Rule",
    "const",
    "dump_phases",
    "either",
    "erase_if_dead",
    "maybe",
    "ops",
    "pass_class",
    "pass_names",
    "print_after",
    "register_pass",
    "replace_op",
    "rewrite",
    "rounded",
    "scalar",
    "value",
    "values",
    "walk",
]
