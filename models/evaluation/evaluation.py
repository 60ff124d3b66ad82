"""An evaluation: inputs to calibrate with, and a number for whatever runs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Feeds: TypeAlias = Mapping[str, np.ndarray]
Run: TypeAlias = Callable[[Feeds], Mapping[str, np.ndarray]]
"""A model: inputs by name to outputs by name, in the model's order."""


@dataclass(frozen=True)
class Evaluation:
    """model: the zoo's name of what is judged. title: what the number is.

    calibration: the first `count` of inputs that are not judged by, seeded. answers: what a model says of each input
    that is. truth: what it ought to say.
    """

    name: str
    model: str
    title: str
    calibration: Callable[[int], Iterator[Feeds]]
    answers: Callable[[Run], np.ndarray]
    truth: Callable[[], np.ndarray]

    def metric(self, run: Run) -> float:
        """The share of right answers."""
        return float(np.mean(self.answers(run) == self.truth()))


def first_output(run: Run, feeds: Feeds) -> np.ndarray:
    """What a model with one output gives."""
    return np.asarray(next(iter(run(feeds).values())))
