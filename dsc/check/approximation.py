"""How far what was approximated on purpose is off: each attention by itself, what adds up, and the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import onnx
from xdsl.ir import Operation, SSAValue

from dsc.check.deviation import Deviation, Deviations
from dsc.check.reference import Reference
from dsc.check.samples import USUAL, Sizes, random_inputs
from dsc.errors import DscError, UsageError
from dsc.exchange import export_model
from dsc.ir import FusionOp, Graph, attention_keep, attention_window
from dsc.passes.base import Pass, PassRecord
from dsc.passes.pipeline import Pipeline
from dsc.passes.sparsity.attention import SparsifyAttention, attentions, is_approximated, name_of
from dsc.passes.sparsity.chosen_keys import BLOCK, choosing

Feed = Mapping[str, np.ndarray]
SEEDS = range(3)
"""Of the random inputs."""
_RESULT = "dsc.attention.{}"
"""How further outputs are named, which tell what attentions give."""


@dataclass(frozen=True)
class Samples:
    """Inputs by name, and what they are in words."""

    source: str
    feeds: Iterable[Feed]


@dataclass(frozen=True)
class AttentionError:
    """By how much an attention is off that has a window, or keeps a share of its keys, or both.

    own: of what it makes of the exact model's values. accumulated: of what it makes of those of attentions before it
    that are approximated too. None where it was not measured.
    """

    name: str
    window: int | None
    keep: float | None
    own: Deviation | None = None
    accumulated: Deviation | None = None


@dataclass(frozen=True)
class Approximation:
    """What was approximated, and by how much it is off.

    refused: reasons, and how many attentions each is true of. outputs: the errors of the model's outputs by name.
    inputs: on what it was measured, in words; or why it was not.
    """

    attentions: tuple[AttentionError, ...]
    refused: Mapping[str, int]
    outputs: Mapping[str, Deviation] = field(default_factory=dict)
    inputs: str = ""

    def to_json(self) -> dict[str, object]:
        """Plain data; what is infinite is text, as JSON has no number for it."""
        found = [{**asdict(each), "own": _plain(each.own), "accumulated": _plain(each.accumulated)}
                 for each in self.attentions]  # fmt: skip
        outputs = {name: _plain(error) for name, error in self.outputs.items()}
        return {"attentions": found, "refused": dict(self.refused), "outputs": outputs, "inputs": self.inputs}


def _plain(error: Deviation | None) -> dict[str, float | str] | None:
    if error is None:
        return None
    return {name: value if math.isfinite(value) else str(value) for name, value in asdict(error).items()}


def approximates(pipeline: Pipeline) -> bool:
    """Whether a pass of a pipeline changes results by more than rounding. Raises UsageError where two do: by how much
    either is off could not be told."""
    count = sum(isinstance(pass_, SparsifyAttention) for pass_ in pipeline.passes)
    if count > 1:
        raise UsageError(f"{SparsifyAttention.name} is {count} times among the passes: once is enough")
    return count == 1


@dataclass(frozen=True)
class Approximated:
    """A model as it is computed on purpose: the graph before the pass that approximates, and the model after it."""

    exact: Graph
    model: onnx.ModelProto

    @staticmethod
    def of(graph: Graph, passes: str) -> Approximated | None:
        """What the passes of an artifact make of a model, imported; None where they approximate nothing."""
        pipeline = Pipeline.parse(passes)
        if not approximates(pipeline):
            return None
        watch = Approximating(graph)
        pipeline.upto(SparsifyAttention).run(graph.clone(), [watch])
        return Approximated(watch.exact, export_model(watch.approximated))


class Approximating:
    """An observer for `Pipeline.run` that keeps the graph before and after the pass that approximates."""

    def __init__(self, graph: Graph) -> None:
        """graph: as imported, before any pass."""
        self.imported = self.exact = self.approximated = graph.clone()
        self._before = self.imported
        self._refused: dict[str, int] = {}

    def __call__(self, index: int, pass_: Pass, graph: Graph, record: PassRecord) -> None:
        after = graph.clone()
        if isinstance(pass_, SparsifyAttention):
            self.exact, self.approximated = self._before, after
            self._refused = {miss.reason: miss.count for miss in record.near_misses()}
        self._before = after

    def measure(self, samples: Samples | None = None) -> Approximation:
        """By how much what was approximated is off.

        samples: random ones where none are given, so long that keys are left out where the model allows that. Raises
        UsageError for samples that the model does not take, and where there is none.
        """
        changed = _approximated(self.approximated)
        if not changed:
            return Approximation((), self._refused)
        stated = [_stated(op) for op in changed]
        try:
            on = samples or self._random(max(window or 4 * BLOCK for _, window, _ in stated))
            errors, outputs = self._errors(on, len(stated))
        except DscError as error:
            if samples is not None:
                raise
            unknown = tuple(AttentionError(*each) for each in stated)
            return Approximation(unknown, self._refused, inputs=f"not measured: {error}")
        found = tuple(AttentionError(*each, *error) for each, error in zip(stated, errors, strict=True))
        return Approximation(found, self._refused, outputs, on.source)

    def _random(self, window: int) -> Samples:
        """The longest that the model takes, as far as its sizes are free, up to four windows, or so many blocks of keys
        that some are left out."""
        reference, lengths = Reference(export_model(self.imported)), (4 * window, 2 * window, window + window // 2)
        refusal: DscError | None = None
        for usual in (*(Sizes(1, USUAL[1].pixels, length) for length in lengths), *USUAL):
            feeds: list[Feed] = [random_inputs(self.imported, seed, usual=usual) for seed in SEEDS]
            try:
                reference.run(feeds[0])
            except UsageError as error:
                refusal = refusal or error
            else:
                shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds[0].items())
                return Samples(f"random, seeds {', '.join(map(str, SEEDS))}: {shapes}", feeds)
        assert refusal is not None
        raise refusal

    def _errors(self, samples: Samples, count: int) -> tuple[list[tuple[Deviation, Deviation]], dict[str, Deviation]]:
        """Each attention's own and accumulated errors, and those of the outputs."""
        exact = Reference(export_model(_with_twins(self.exact.clone(), self.approximated)))
        copy = self.approximated.clone()
        approximated = Reference(export_model(_with_results(copy, _approximated(copy))))
        errors = [(Deviations(), Deviations()) for _ in range(count)]
        outputs = {name: Deviations() for name in self.imported.output_names}
        measured = 0
        for feed in samples.feeds:
            measured += 1
            expected, found = exact.run(feed), approximated.run(feed)
            for i, (own, accumulated) in enumerate(errors):
                own.add(expected[_RESULT.format(i)], expected[_RESULT.format(i + count)])
                accumulated.add(expected[_RESULT.format(i)], found[_RESULT.format(i)])
            for name, error in outputs.items():
                error.add(expected[name], found[name])
        if not measured:
            raise UsageError(f"there is no sample in {samples.source}")
        results = [(own.result(), accumulated.result()) for own, accumulated in errors]
        return results, {name: error.result() for name, error in outputs.items()}


def _approximated(graph: Graph) -> list[FusionOp]:
    return [op for op in attentions(graph) if is_approximated(op)]


def _stated(attention: FusionOp) -> tuple[str, int | None, float | None]:
    """Its name, its window, and the share of its keys that it keeps."""
    kept = attention_keep(attention)
    return name_of(attention), attention_window(attention), None if kept is None else kept.share


def _with_results(graph: Graph, regions: Sequence[Operation]) -> Graph:
    """The graph, which has these regions, with their results as further outputs."""
    named = list(zip(graph.output_names, graph.outputs, strict=True))
    graph.set_outputs([*named, *((_RESULT.format(i), op.results[0]) for i, op in enumerate(regions))])
    return graph


def _with_twins(exact: Graph, approximated: Graph) -> Graph:
    """The exact graph with each attention that is approximated twice, on the same values: its results, and then those
    of its twins, are further outputs."""
    values: dict[SSAValue, SSAValue] = dict(zip(approximated.inputs, exact.inputs, strict=True))
    regions: list[Operation] = []
    twins: list[Operation] = []
    added, rest = choosing(approximated), iter(list(exact.ops()))
    last: Operation | None = None
    for other in approximated.ops():
        if other in added:
            last = _put_after(exact, last, other.clone(values))
            values.update(zip(other.results, last.results, strict=True))
            continue
        op = next(rest)
        values.update(zip(other.results, op.results, strict=True))
        last = op
        if isinstance(op, FusionOp) and is_approximated(other):
            last = _put_after(exact, op, other.clone({value: values[value] for value in other.operands}))
            regions.append(op)
            twins.append(last)
    assert next(rest, None) is None
    return _with_results(exact, [*regions, *twins])


def _put_after(graph: Graph, op: Operation | None, added: Operation) -> Operation:
    """`added`, behind `op` or at the beginning."""
    if op is not None:
        graph.body.insert_op_after(added, op)
    elif (first := graph.body.first_op) is not None:
        graph.body.insert_op_before(added, first)
    return added
