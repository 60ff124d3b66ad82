"""How many weights each layer keeps, so that all together keep as many as is asked for.

By what layers lose: the errors of their outputs, as shares of their power, are taken to add up, and the densities are
those of the least sum. Where the last weight kept brings each layer the same, no exchange between two makes it less, so
one number, the price of a weight, gives all densities. (Everett, Generalized Lagrange Multiplier Method, 1963.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsc.prune.problem import Problem
from dsc.prune.refit import refit
from dsc.sparsity import Pattern

MEASURED = (0.3, 0.5, 0.7, 0.85, 0.95)
"""Sparsities for which a layer's error is measured."""
MOST = 0.98
"""No layer becomes sparser than this."""
_STEPS = 10
"""Of the refit behind a measured error: it is compared with those of other layers only."""
_FLOOR = 1e-9
"""Of errors: what is less is noise."""
_HALVINGS = 60
CHOICES = np.linspace(0.0, MOST, 197)
"""Sparsities that a layer may have, and those that its curve is of."""


@dataclass(frozen=True)
class Loss:
    """What a layer loses: size is how many weights it has, errors the shares of the outputs' power at `MEASURED`."""

    size: int
    errors: tuple[float, ...]

    @staticmethod
    def of(problems: Sequence[Problem], size: int, pattern: Pattern) -> Loss:
        """problems: of each group. Masks are by weight and input, the weights that stay by a few steps of a refit."""
        power = sum(problem.power for problem in problems) or 1.0
        densities = [1 - sparsity for sparsity in MEASURED]
        return Loss(size, tuple(sum(_error(p, pattern, density) for p in problems) / power for density in densities))

    @property
    def curve(self) -> np.ndarray:
        """Errors at `CHOICES`: their logarithms are lines between those measured, and the error of none is none."""
        logs = np.log(np.maximum(np.maximum.accumulate(self.errors), _FLOOR))
        slope = (logs[-1] - logs[-2]) / (MEASURED[-1] - MEASURED[-2])
        points, values = [*MEASURED, 1.0], [*logs, logs[-1] + slope * (1.0 - MEASURED[-1])]
        curve = np.exp(np.interp(CHOICES, points, values))
        low = MEASURED[0] > CHOICES
        curve[low] = np.exp(logs[0]) * (CHOICES[low] / MEASURED[0]) ** 2
        return np.asarray(curve)


def _error(problem: Problem, pattern: Pattern, density: float) -> float:
    mask = pattern.keep(problem.target**2 * problem.diagonal, density)
    return problem.error(refit(problem, problem.target, mask, _STEPS))


def uniform(sizes: Mapping[str, int], kept: float) -> dict[str, float]:
    """Equal densities of layers that keep `kept` weights together."""
    return dict.fromkeys(sizes, min(1.0, max(0.0, kept / max(1, sum(sizes.values())))))


def by_loss(losses: Mapping[str, Loss], kept: float) -> dict[str, float]:
    """Densities of the least sum of errors for layers that keep `kept` weights together."""
    curves = {name: loss.curve for name, loss in losses.items()}

    def at(price: float) -> dict[str, float]:
        found = {n: CHOICES[int(np.argmin(c - price * losses[n].size * CHOICES))] for n, c in curves.items()}
        return {name: float(1 - sparsity) for name, sparsity in found.items()}

    return _scaled(_bisected(at, {n: loss.size for n, loss in losses.items()}, kept), losses, kept)


def by_magnitude(weights: Mapping[str, np.ndarray], kept: float, pattern: Pattern) -> dict[str, float]:
    """Densities of one threshold for blocks of all layers. weights: [outputs, depth]."""
    blocks = {n: pattern.blocks(w**2) / pattern.blocks(np.ones_like(w)) for n, w in weights.items()}
    every = np.sort(np.concatenate([each.reshape(-1) for each in blocks.values()]))
    size = sum(weight.size for weight in weights.values())
    count = min(every.size, max(0, round(every.size * kept / max(1, size))))
    least = every[every.size - count] if count else np.inf
    return {name: float(np.mean(each >= least)) for name, each in blocks.items()}


def _bisected(at: Callable[[float], dict[str, float]], sizes: Mapping[str, int], kept: float) -> dict[str, float]:
    """The densities of the price at which no fewer than `kept` weights stay. A higher price keeps fewer."""
    low, high = 1e-15, 1e3
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        stay = sum(density * sizes[name] for name, density in at(middle).items())
        low, high = (middle, high) if stay >= kept else (low, middle)
    return at(low)


def _scaled(densities: Mapping[str, float], losses: Mapping[str, Loss], kept: float) -> dict[str, float]:
    """What is left over by the steps of densities, taken from each in proportion."""
    stay = sum(density * losses[name].size for name, density in densities.items())
    factor = kept / stay if stay else 0.0
    return {name: min(1.0, density * factor) for name, density in densities.items()}
