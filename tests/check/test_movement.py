"""What rounding explains: differences as large and as many as the reference's own movements, no more."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.check import compare
from dsc.check.movement import Movement
from dsc.check.tolerance import Tolerance

RANDOM = np.random.default_rng(3)


def steps(count: int, of: int, step: float, dtype: object) -> np.ndarray:
    """`count` of `of` elements one step up or down."""
    moved = np.zeros(of)
    moved[RANDOM.choice(of, count, replace=False)] = step * RANDOM.choice([-1, 1], count)
    return moved.astype(dtype)


def passes(still: np.ndarray, runs: list[np.ndarray], found: np.ndarray) -> bool:
    return compare("y", still, found, Tolerance(), Movement(still, tuple(runs))).passed


def test_floats_move_by_their_magnitude() -> None:
    """Noise of 1e-4 on elements near 1,000 says nothing about those near 1."""
    still = np.concatenate([RANDOM.uniform(500, 1500, 200), RANDOM.uniform(0.5, 1.5, 200)]).astype(np.float32)
    large = np.arange(400) < 200
    noise = [np.where(large, 0.1, 1e-6) * RANDOM.standard_normal(400) for _ in range(8)]
    runs = [(still + n).astype(np.float32) for n in noise]
    assert passes(still, runs, (still + 0.1 * large).astype(np.float32))
    assert not passes(still, runs, (still + 0.1 * ~large).astype(np.float32))


def test_a_few_elements_may_be_a_step_off_and_not_all() -> None:
    """The output of a QuantizeLinear: some operands lie at a tie."""
    still = RANDOM.integers(50, 200, 1000).astype(np.uint8)
    runs = [still + steps(5, 1000, 1, np.uint8) for _ in range(8)]
    assert passes(still, runs, still + steps(4, 1000, 1, np.uint8))
    assert not passes(still, runs, still + np.uint8(1))
    assert not passes(still, runs, still + steps(4, 1000, 20, np.uint8))
    assert not passes(still, [still] * 8, still + steps(4, 1000, 1, np.uint8))  # nothing lies at a tie


def test_dequantized_values_likewise() -> None:
    still = (RANDOM.integers(50, 200, 1000) * 0.125).astype(np.float32)
    runs = [still + steps(5, 1000, 0.125, np.float32) for _ in range(8)]
    assert passes(still, runs, still + steps(4, 1000, 0.125, np.float32))
    assert not passes(still, runs, still + np.float32(0.125))


def test_an_index_must_be_one_that_rounding_chooses() -> None:
    still = RANDOM.integers(0, 50, 100)
    other = still.copy()
    other[7] = 99
    assert passes(still, [still, other], other)
    wrong = still.copy()
    wrong[7] = 98
    assert not passes(still, [still, other], wrong)
    wrong = still.copy()
    wrong[8] = 99
    assert not passes(still, [still, other], wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_no_rounding(bad: float) -> None:
    still = RANDOM.standard_normal(100).astype(np.float32)
    runs = [still + np.float32(1e-3) * RANDOM.standard_normal(100).astype(np.float32) for _ in range(8)]
    found = still.copy()
    found[3] = bad
    assert not passes(still, runs, found)
