"""The model that is so many times as fast as the float model, and loses least for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx

from dsc.errors import BudgetError
from dsc.prune.pruned import Made, Speed
from dsc.prune.speed.draft import Draft, Drafting
from dsc.prune.speed.estimates import Estimates, Seconds

_HALVINGS = 7
"""Of the share that is left of what products take."""
_TRIES = 4
"""Models that are made and measured."""
_MARGIN = 1.02
"""How much more is asked of estimates than measuring says."""

Measure = Callable[[onnx.ModelProto], float]
"""How many times as fast a model is as the float model."""


@dataclass(frozen=True)
class _Reached:
    """A draft, and how many times as fast it is by estimate."""

    draft: Draft
    speedup: float


class Faster:
    """measure: None where the target's code does not run here; estimates count then."""

    def __init__(self, work: Drafting, estimates: Estimates, measure: Measure | None) -> None:
        self._work, self._estimates, self._measure = work, estimates, measure
        self._float: Seconds = estimates.of(work.float_model)

    def made(self, speedup: float) -> tuple[Made, Speed]:
        """The model that is so many times as fast. Raises BudgetError, with the fastest that was found."""
        asked, best, target = speedup, 0.0, self._estimates.target.name
        for _ in range(_TRIES):
            reached = self._densest(asked)
            if reached.speedup < asked:
                break
            made = reached.draft.make()
            if self._measure is None:
                return made, Speed(speedup, reached.speedup, None, target)
            measured = self._measure(made.model)
            if measured >= speedup:
                return made, Speed(speedup, reached.speedup, measured, target)
            best, asked = max(best, measured), self._corrected(speedup, reached.speedup, measured)
        raise BudgetError(self._missed(speedup, best))

    def _corrected(self, speedup: float, estimated: float, measured: float) -> float:
        """What is to be asked of estimates, when measuring says less than they do.

        What they lack is taken for a time that all models need, beside what is estimated: ``measured = (a + t) /
        (b + t)``, with estimates a and b. It is more than all of a where the speedup cannot be.
        """
        slow, fast = self._float.total, self._float.total / estimated
        beside = (slow - measured * fast) / (measured - 1) if measured > 1 else math.inf
        wanted = (slow + beside) / speedup - beside if math.isfinite(beside) else 0.0
        return _MARGIN * slow / wanted if wanted > 0 else math.inf

    def _missed(self, speedup: float, best: float) -> str:
        least = self._reached(0.0).speedup
        found = f"; the fastest that was measured is {best:.2f} times as fast" if best and self._measure else ""
        return (
            f"a model that is {speedup:g} times as fast was asked for, on {self._estimates.target.name}: by estimate "
            f"{least:.2f} times is the most{found}"
        )

    def _densest(self, asked: float) -> _Reached:
        """The draft that keeps the most and is as fast as that, or the fastest there is."""
        low, best = 0.0, self._reached(0.0)
        if best.speedup < asked:
            return best
        high = 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            found = self._reached(middle)
            if found.speedup >= asked:
                low, best = middle, found
            else:
                high = middle
        return best

    def _reached(self, left: float) -> _Reached:
        draft = self._work.draft(left, self._float.products)
        return _Reached(draft, self._float.total / self._estimates.of(draft.model).total)
