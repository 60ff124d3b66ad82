"""Finding the pass, and the rule within it, after which the graph computes something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dsc.check.compare import OutputError
from dsc.check.judge import Judge
from dsc.check.reference import Reference
from dsc.check.tolerance import of_rounding
from dsc.errors import DscError, VerificationError
from dsc.exchange import export_model
from dsc.ir import FusionOp, Graph, OnnxOp, op_text
from dsc.passes.base import Pass, PassRecord
from dsc.passes.pipeline import Observer
from dsc.passes.precision import Precision
from dsc.passes.sparsity import SparsifyAttention

Arrays = Mapping[str, np.ndarray]
_SHOWN = 8
"""Ops that a rewrite removed or made, of which a message shows so many."""


@dataclass(frozen=True)
class Stages:
    """Runs graphs of one model, at any stage, on one sample in ONNX Runtime.

    graph: as imported. expected: the model's outputs on `inputs`.
    """

    graph: Graph
    inputs: Arrays
    expected: Arrays
    judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "judge", Judge(lambda: self.graph))

    def approximated(self, graph: Graph) -> Stages:
        """Those from a graph on that computes something else on purpose: what it gives is what is expected then."""
        return replace(self, expected=Reference(export_model(graph)).run(self.inputs))

    def wrong(self, graph: Graph, after: Pass | None = None) -> OutputError | None:
        """The worst output of a graph that differs from what is expected; None if none does.

        after: the pass that made it. One that rounds on purpose may move the outputs as far as that explains.
        """
        found = Reference(export_model(graph)).run(self.inputs)
        judge = Judge(lambda: self.graph, of_rounding(after.type)) if isinstance(after, Precision) else self.judge
        errors = [e for e in judge.errors(self.inputs, self.expected, found) if not e.passed]
        return max(errors, key=lambda error: error.relative, default=None)


def verify_each(stages: Stages) -> Observer:
    """`--verify-each`: an observer for `Pipeline.run` that runs the graph in ONNX Runtime after each pass.

    It raises VerificationError, naming the pass, the rule and the worst output, where the outputs differ. After a pass
    that approximates, passes are held against what that gives.
    """
    before = stages.graph.clone()

    def observe(index: int, pass_: Pass, graph: Graph, _: PassRecord) -> None:
        nonlocal before, stages
        if isinstance(pass_, SparsifyAttention):
            stages = stages.approximated(graph)
        wrong = stages.wrong(graph, pass_)
        if wrong is not None:
            rule = wrong_rule(pass_, before, stages)
            said = f"pass {index + 1}, {pass_}, changed the model's results"
            raise VerificationError(f"{said}{f': {rule}' if rule else ''}\n  {wrong}")
        before = graph.clone()

    return observe


def wrong_rule(pass_: Pass, before: Graph, stages: Stages) -> str:
    """The first rewrite of a pass after which the graph computes something else, in words; "" if that is not found.

    The pass is run again from `before` and stopped after so many rewrites, halving the interval each time.
    """
    whole, counted = _stopped(pass_, before, None)
    total = counted.count
    if total > 1 and _texts(_stopped(pass_, before, 1)[0]) == _texts(whole):
        return ""  # a pass that notes its rewrites when all are done
    right, wrong = 0, total
    while wrong - right > 1:
        middle = (right + wrong) // 2
        verdict = _is_wrong(_stopped(pass_, before, middle)[0], stages, pass_)
        if verdict is None:
            return ""
        right, wrong = (right, middle) if verdict else (middle, wrong)
    if not total or not _is_wrong(_stopped(pass_, before, wrong)[0], stages, pass_):
        return ""
    (good, _), (bad, record) = _stopped(pass_, before, right), _stopped(pass_, before, wrong)
    gone, made = _texts(good), _texts(bad)
    removed, added = gone - made, made - gone
    lines = [f"    - {text}" for text in removed] + [f"    + {text}" for text in added]
    nodes = dict.fromkeys([*_nodes(good, removed), *_nodes(bad, added)])
    place = f" at ONNX nodes {', '.join(nodes)}" if nodes else ""
    return "\n".join([f"rule {record.last!r}, rewrite {wrong} of {total},{place}", *lines[:_SHOWN]])


class _Enough(Exception):  # noqa: N818 - no error
    """Enough was rewritten."""


@dataclass
class _Counting(PassRecord):
    """A record that stops its pass after `limit` rewrites."""

    limit: int | None = None
    count: int = 0
    last: str = ""

    def fire(self, rule: str, count: int = 1) -> None:
        super().fire(rule, count)
        self.count, self.last = self.count + 1, rule
        if self.count == self.limit:
            raise _Enough


def _stopped(pass_: Pass, before: Graph, limit: int | None) -> tuple[Graph, _Counting]:
    graph, record = before.clone(), _Counting(str(pass_), limit=limit)
    if limit != 0:
        try:
            pass_.apply(graph, record)
        except _Enough:
            graph.update_signature()
    return graph, record


def _is_wrong(graph: Graph, stages: Stages, pass_: Pass) -> bool | None:
    """None where the pass was stopped in the middle of a rewrite."""
    try:
        graph.verify()
        return stages.wrong(graph, pass_) is not None
    except DscError:
        return None


def _texts(graph: Graph) -> Counter[str]:
    return Counter(op_text(op) for op in graph.ops())


def _nodes(graph: Graph, texts: Counter[str]) -> list[str]:
    """The ONNX nodes of the ops of these texts."""
    ops = [op for op in graph.ops() if op_text(op) in texts]
    parts = [part for op in ops for part in (op.block.ops if isinstance(op, FusionOp) else (op,))]
    return [part.node for part in parts if isinstance(part, OnnxOp) and part.node]
