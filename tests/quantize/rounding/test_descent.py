"""Rounding by coordinate descent, against all roundings there are, and against the nearest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dsc.quantize.rounding import descent
from dsc.quantize.rounding.descent import descend
from dsc.quantize.rounding.grams import Gram


def problem(depth: int, width: int, rows: int, groups: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of inputs that have much in common, weights, and steps of a tenth of these."""
    random = np.random.default_rng([depth, width, rows])
    x = random.standard_normal((groups, rows, depth)) + 2 * random.standard_normal((groups, rows, 1))
    weight = random.standard_normal((groups, depth, width))
    return x, weight, np.full((groups, 1, width), 0.3) * random.uniform(0.5, 1, (groups, 1, width))


def gram(x: np.ndarray, weight: np.ndarray) -> Gram:
    turned = x.transpose(0, 2, 1)
    return Gram(turned @ x, turned @ (x @ weight))


def error(x: np.ndarray, weight: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """Of each output, with what draws weights to what they were."""
    h = gram(x, weight).inputs
    damping = descent.DAMPING * np.trace(h, axis1=1, axis2=2)[:, None] / weight.shape[1]
    change = rounded - weight
    squares: np.ndarray = np.square(x @ change).sum(1) + damping * np.square(change).sum(1)
    return squares


def test_no_single_step_makes_it_better_and_few_roundings_are() -> None:
    x, weight, scale = problem(7, 5, 40)
    found = descend(weight, scale, gram(x, weight), 127)
    steps = weight / scale
    assert (np.abs(found - steps) < 1).all()
    least = error(x, weight, found * scale)
    assert (least <= error(x, weight, np.rint(steps) * scale)).all()
    for row in range(7):
        other = found.copy()
        other[:, row] += np.where(found[:, row] > steps[:, row], -1, 1)
        assert (error(x, weight, other * scale) >= least * (1 - 1e-12)).all()
    sides = np.stack([np.floor(steps), np.ceil(steps)])
    every = [
        np.stack([sides[side, 0, row] for row, side in enumerate(choice)])
        for choice in itertools.product((0, 1), repeat=7)
    ]
    errors = np.stack([error(x, weight, one[None] * scale) for one in every])
    assert (np.mean(errors < least * (1 - 1e-9), axis=0) < 0.05).all()
    assert least.sum() < 0.85 * error(x, weight, np.rint(steps) * scale).sum()


@pytest.mark.parametrize(("depth", "groups"), [(1, 3), (9, 4), (150, 1), (300, 2)])
def test_depths_of_one_and_of_several_blocks(depth: int, groups: int) -> None:
    x, weight, scale = problem(depth, 3, 2 * depth + 5, groups)
    found = descend(weight, scale, gram(x, weight), 127)
    nearest = error(x, weight, np.rint(weight / scale) * scale).sum()
    assert error(x, weight, found * scale).sum() <= nearest * (0.5 if depth > 100 else 1)


def test_integers_stay_in_range_and_whole_weights_stay() -> None:
    x, weight, scale = problem(12, 4, 50)
    found = descend(weight, scale / 50, gram(x, weight), 127)
    assert np.abs(found).max() == 127
    whole = np.rint(weight / scale) * scale
    np.testing.assert_array_equal(descend(whole, scale, gram(x, weight), 127) * scale, whole)


def test_inputs_that_are_always_zero_leave_the_nearest() -> None:
    x, weight, scale = problem(6, 4, 30)
    x[:, :, 2] = 0
    found = descend(weight, scale, gram(x, weight), 127)
    np.testing.assert_array_equal(found[:, 2], np.rint(weight / scale)[:, 2])
    nothing = descend(weight, scale, gram(0 * x, weight), 127)
    np.testing.assert_array_equal(nothing, np.rint(weight / scale))
