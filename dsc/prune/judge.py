"""How good a model is, by a user's function: a number, or one for each sample, of which half decide and half judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from dsc.errors import DscError, UsageError
from dsc.prune.pruned import Accuracy, Compared
from dsc.quantize.session import Run, runner

Evaluate = Callable[[Run], float | npt.ArrayLike]
"""Takes what runs a model; gives a number, or an array with a number for each sample, of which the mean counts.
Larger is better, as 1 for a right answer and 0 for a wrong one.
"""


@dataclass(frozen=True)
class Scores:
    """What a function gave: one number, or one for each sample."""

    values: np.ndarray

    @property
    def mean(self) -> float:
        """The accuracy."""
        return float(self.values.mean())

    @property
    def halves(self) -> tuple[Scores, Scores | None]:
        """Every other sample, and the rest; one number is not divided."""
        if self.values.size < 2:
            return self, None
        return Scores(self.values[::2]), Scores(self.values[1::2])

    def certain_drop(self, other: Scores) -> float:
        """How much less the other scores have: the mean and, where there are samples, one standard error of it.

        The samples are a draw of those in use, so a drop that is just allowed on them would be too much on half of all
        other draws.
        """
        lost = self.values - other.values
        error = float(lost.std(ddof=1)) / np.sqrt(lost.size) if lost.size > 1 else 0.0
        return float(lost.mean() + error)


class Judge:
    """Asks a function of models, and remembers what it said of the float model."""

    def __init__(self, evaluate: Evaluate, float_model: onnx.ModelProto) -> None:
        if not callable(evaluate):
            raise UsageError(f"the evaluation is a {type(evaluate).__name__}, expected a function of what runs a model")
        self._evaluate = evaluate
        self.evaluations = 0
        self.base = self.scores(float_model)

    def scores(self, model: onnx.ModelProto) -> Scores:
        """Of a model. Raises UsageError where the function fails, or gives no finite numbers."""
        self.evaluations += 1
        try:
            found = np.asarray(self._evaluate(runner(model)), np.float64).reshape(-1)
        except DscError:
            raise
        except Exception as error:
            raise UsageError(f"the evaluation failed: {type(error).__name__}: {error}") from error
        if not found.size or not np.isfinite(found).all():
            raise UsageError("the evaluation gives no finite numbers")
        if self.evaluations > 1 and found.size != self.base.values.size:
            raise UsageError(f"the evaluation gives {found.size} numbers, and gave {self.base.values.size} before")
        return Scores(found)

    def drop(self, scores: Scores) -> float:
        """What a model loses, on the samples that decide."""
        return self.base.halves[0].certain_drop(scores.halves[0])

    def accuracy(self, scores: Scores, *, decided: bool) -> Accuracy:
        """decided: whether samples were used to choose the model."""
        if not decided:
            return Accuracy(_compared(self.base, scores), None, self.evaluations)
        (base, base_rest), (found, rest) = self.base.halves, scores.halves
        held_out = None if base_rest is None or rest is None else _compared(base_rest, rest)
        return Accuracy(_compared(base, found), held_out, self.evaluations)


def _compared(base: Scores, found: Scores) -> Compared:
    count = base.values.size
    return Compared(base.mean, found.mean, count if count > 1 else None)
