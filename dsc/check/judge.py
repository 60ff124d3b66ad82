"""The verdict on a run: near enough as it is, or as near as rounding lets the reference itself come."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dsc.check.compare import OutputError, compare
from dsc.check.movement import Movement
from dsc.check.stability import Stability, Tell
from dsc.check.tolerance import Tolerance
from dsc.errors import DscError
from dsc.ir import Graph

Arrays = Mapping[str, np.ndarray]


class Judge:
    """Compares outputs of one model; asks how far rounding moves them only where they are not equal without."""

    def __init__(
        self,
        graph: Callable[[], Graph],
        tolerance: Tolerance | None = None,
        threads: int | None = None,
        progress: Tell | None = None,
    ) -> None:
        """graph: the model, imported; called when it is needed. A tolerance that was given is final."""
        self._graph, self._threads, self._progress = graph, threads, progress or _silent
        self.tolerance = tolerance or Tolerance()
        self.unmeasured = ""
        """Why it is not known how far rounding moves the outputs, "" where it is or was not asked."""
        self._stability: Stability | None = None
        self._measured: tuple[Arrays, Mapping[str, Movement]] | None = None
        """The sample that was asked for last, and its movements."""

    def errors(self, inputs: Arrays, expected: Arrays, actual: Arrays) -> list[OutputError]:
        """The error of each output that is expected."""
        found = [_error(name, array, actual, self.tolerance, None) for name, array in expected.items()]
        if self.tolerance.given or all(error.passed or error.mismatch for error in found):
            return found
        moved = self._movements(inputs)
        wider = [_error(e.name, expected[e.name], actual, self.tolerance, moved.get(e.name)) for e in found]
        return [first if first.passed else second for first, second in zip(found, wider, strict=True)]

    def _movements(self, inputs: Arrays) -> Mapping[str, Movement]:
        if self._measured is not None and self._measured[0] is inputs:
            return self._measured[1]
        if self.unmeasured:
            return {}
        try:
            if self._stability is None:
                self._stability = Stability(self._graph(), self._threads)
            self._measured = inputs, self._stability.movements(inputs, self._progress)
            return self._measured[1]
        except DscError as error:
            self.unmeasured = str(error)
            return {}


def _silent(phase: str, done: int, total: int) -> None:
    """The progress of nobody watching."""


def _error(
    name: str, expected: np.ndarray, actual: Arrays, tolerance: Tolerance, movement: Movement | None
) -> OutputError:
    if name not in actual:
        return OutputError(name, str(expected.dtype), mismatch="the module has no such output")
    return compare(name, expected, actual[name], tolerance, movement)
