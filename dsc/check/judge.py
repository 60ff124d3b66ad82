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
_RUNS, _MANY_RUNS = 6, 24
"""Runs with rounding errors: every other of them moves a value to the side where a tie falls the other way."""
_RARE = 0.01
"""Share of elements: where no more are wrong they may be ties that the first runs did not meet."""


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
        self._measured: tuple[Arrays, int, Mapping[str, Movement]] | None = None
        """The sample that was asked for last, in how many runs, and its movements."""

    def errors(self, inputs: Arrays, expected: Arrays, actual: Arrays) -> list[OutputError]:
        """The error of each output that is expected."""
        found = [_error(name, array, actual, self.tolerance, None) for name, array in expected.items()]
        if self.tolerance.given or all(error.passed or error.mismatch for error in found):
            return found
        moved = self._movements(inputs, _RUNS)
        wider = [self._wider(error, expected, actual, moved) for error in found]
        if any(0 < error.wrong <= max(1, _RARE * error.elements) for error in wider):
            moved = self._movements(inputs, _MANY_RUNS)
            wider = [self._wider(error, expected, actual, moved) for error in wider]
        return wider

    def _wider(
        self, error: OutputError, expected: Arrays, actual: Arrays, moved: Mapping[str, Movement]
    ) -> OutputError:
        """The error by what rounding explains too, where it is too large as it is."""
        if error.passed:
            return error
        return _error(error.name, expected[error.name], actual, self.tolerance, moved.get(error.name))

    def _movements(self, inputs: Arrays, runs: int) -> Mapping[str, Movement]:
        if self._measured is not None and self._measured[0] is inputs and self._measured[1] >= runs:
            return self._measured[2]
        if self.unmeasured:
            return {}
        try:
            if self._stability is None:
                self._stability = Stability(self._graph(), self._threads)
            self._measured = inputs, runs, self._stability.movements(inputs, runs, self._progress)
            return self._measured[2]
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
