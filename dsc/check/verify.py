"""A compiled module against the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from dsc.check.compare import OutputError
from dsc.check.judge import Judge
from dsc.check.reference import Model, Reference
from dsc.check.stability import Tell
from dsc.check.tolerance import Tolerance
from dsc.errors import DscError
from dsc.exchange import import_model
from dsc.ir import Graph

_BLUR = 1e-3


class Runnable(Protocol):
    """What can be checked: a `dsc.Module`, or anything that maps inputs to outputs by name."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The outputs by name."""
        ...


@dataclass(frozen=True)
class Report:
    """The errors of all outputs, the worst of all samples each.

    failed: the numbers of the samples in which an output is wrong. blurred: those of others in which rounding moves an
    output by more than a thousandth of its scale, so that its being right says little of what comes before. notes: what
    else the user should know.
    """

    outputs: tuple[OutputError, ...]
    samples: int
    tolerance: Tolerance
    failed: tuple[int, ...] = ()
    blurred: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output of every sample is near enough."""
        return not self.failed

    def to_json(self) -> dict[str, object]:
        """Plain data for a JSON file."""
        outputs = [
            {**asdict(error), "relative": error.relative, "passed": error.passed, "remedy": error.remedy}
            for error in self.outputs
        ]
        return {
            "passed": self.passed,
            "samples": self.samples,
            "failed_samples": list(self.failed),
            "tolerance": asdict(self.tolerance),
            "outputs": outputs,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        verdict = "equal to ONNX Runtime" if self.passed else "NOT equal to ONNX Runtime"
        head = f"{verdict} on {self.samples} sample(s), tolerance {self.tolerance}"
        return "\n".join([head, *(f"  {error}" for error in self.outputs), *(f"  note: {n}" for n in self.notes)])


def verify(
    model: Model,
    module: Runnable,
    samples: Iterable[Mapping[str, np.ndarray]],
    tolerance: Tolerance | None = None,
    threads: int | None = None,
    *,
    graph: Graph | None = None,
    progress: Tell | None = None,
) -> Report:
    """Run both on each sample and compare all outputs.

    model: what ONNX Runtime takes; its optimizations are off. samples: inputs by name, at least one. tolerance: by
    element type, and by how far rounding moves the model, where none is given. graph: the model imported, if it is at
    hand. progress: told what is done, and of how much. Raises UnsupportedModelError or UsageError where ONNX Runtime
    refuses the model or the inputs; a difference is in the report.
    """
    reference = Reference(model, threads)
    judge = Judge(lambda: graph or import_model(model), tolerance, threads, progress)
    usual = judge if not judge.tolerance.given else Judge(lambda: graph or import_model(model), None, threads, progress)
    worst: dict[str, OutputError] = {}
    failed: list[int] = []
    blurred: list[int] = []
    notes: dict[str, None] = {}
    feeds = list(samples)
    if not feeds:
        raise ValueError("verify was given no samples")
    for count, inputs in enumerate(feeds):
        if progress is not None:
            progress("compare", count, len(feeds))
        expected, actual = reference.run(inputs), module.run(inputs)
        errors = judge.errors(inputs, expected, actual)
        for error in errors:
            worst[error.name] = max(worst.get(error.name, error), error, key=_badness)
        if not all(error.passed for error in errors):
            failed.append(count)
            notes.update(dict.fromkeys(_of_the_optimizer(model, inputs, expected, usual)))
        elif any((error.moved or 0.0) > _BLUR * error.scale for error in errors):
            blurred.append(count)
    if judge.unmeasured:
        notes[f"how far rounding moves the outputs is not known: {judge.unmeasured}"] = None
    return Report(tuple(worst.values()), len(feeds), judge.tolerance, tuple(failed), tuple(blurred), tuple(notes))


def _of_the_optimizer(
    model: Model, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], judge: Judge
) -> list[str]:
    """What to say where ONNX Runtime itself computes something else once its optimizations are on."""
    try:
        found = Reference(model, optimized=True).run(inputs)
    except DscError as error:
        return [f"with its optimizations on, {error}"]
    wrong = [error for error in judge.errors(inputs, expected, found) if not error.passed]
    return [f"with its optimizations on, ONNX Runtime differs from itself: {error}" for error in wrong]


def _badness(error: OutputError) -> tuple[bool, int, float]:
    return bool(error.mismatch), error.wrong, error.relative
