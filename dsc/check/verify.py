"""A compiled module against the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from dsc.check.compare import OutputError, compare
from dsc.check.reference import Model, Reference

TOLERANCE = 1e-4
"""Of max(1, largest absolute output): float32 kernels sum in another order than the reference's."""


class Runnable(Protocol):
    """What can be checked: a `dsc.Module`, or anything that maps inputs to outputs by name."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The outputs by name."""
        ...


@dataclass(frozen=True)
class Report:
    """The errors of all outputs, the worst of all samples each."""

    outputs: tuple[OutputError, ...]
    samples: int
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return all(error.within(self.tolerance) for error in self.outputs)

    def to_json(self) -> dict[str, object]:
        """Plain data for a JSON file."""
        outputs = [{**asdict(error), "relative": error.relative} for error in self.outputs]
        return {
            "passed": self.passed,
            "samples": self.samples,
            "tolerance": self.tolerance,
            "outputs": outputs,
        }

    def __str__(self) -> str:
        verdict = "equal to ONNX Runtime" if self.passed else "NOT equal to ONNX Runtime"
        head = f"{verdict} on {self.samples} sample(s), tolerance {self.tolerance:g}"
        return "\n".join([head, *(f"  {error}" for error in self.outputs)])


def verify(
    model: Model,
    module: Runnable,
    samples: Iterable[Mapping[str, np.ndarray]],
    tolerance: float = TOLERANCE,
    threads: int | None = None,
) -> Report:
    """Run both on each sample and compare all outputs.

    model: what ONNX Runtime takes. samples: inputs by name, at least one. Raises UnsupportedModelError or
    UsageError where ONNX Runtime refuses the model or the inputs; a difference is in the report.
    """
    reference = Reference(model, threads)
    worst: dict[str, OutputError] = {}
    count = 0
    for inputs in samples:
        expected, actual = reference.run(inputs), module.run(inputs)
        for name, error in ((n, _error(n, array, actual)) for n, array in expected.items()):
            worst[name] = max(worst.get(name, error), error, key=_badness)
        count += 1
    if not count:
        raise ValueError("verify was given no samples")
    return Report(tuple(worst.values()), count, tolerance)


def _error(name: str, expected: np.ndarray, actual: Mapping[str, np.ndarray]) -> OutputError:
    if name not in actual:
        return OutputError(name, np.inf, 1.0, mismatch="the module has no such output")
    return compare(name, expected, actual[name])


def _badness(error: OutputError) -> tuple[bool, float, float]:
    return bool(error.mismatch), float(error.classes and error.top1 != 1.0), error.relative
