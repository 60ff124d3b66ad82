"""The order in which units go against exact algebra, and counts against all there are."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from dsc.prune.channels.allocation import Choice, allocated, options
from dsc.prune.channels.ranking import Product, by_scores, by_surgery, costs
from dsc.prune.problem import Problem

RNG = np.random.default_rng()


def problem(outputs: int, depth: int) -> Problem:
    x = RNG.standard_normal((4 * depth, depth)) @ (np.eye(depth) + RNG.standard_normal((depth, depth)) / 4)
    weight = RNG.standard_normal((outputs, depth))
    return Problem.of(weight, x.T @ x, weight @ x.T @ x)


def least(given: Problem, gone: np.ndarray) -> float:
    """The error of the best weights without some columns."""
    kept = np.setdiff1d(np.arange(given.target.shape[1]), gone)
    found = np.zeros_like(given.target)
    wanted = (given.target @ given.hessian)[:, kept]
    found[:, kept] = np.linalg.solve(given.hessian[np.ix_(kept, kept)], wanted.T).T
    return given.error(found)


@pytest.mark.parametrize("width", [1, 3])
def test_errors_are_those_of_the_best_weights_left(width: int) -> None:
    """Of two products, one of them in groups, whatever the units' columns."""
    count = 8
    several = [problem(5, count * width), problem(3, count * width)]
    columns = RNG.permutation(count * width).reshape(count, width)
    other = Product([problem(4, count)], np.arange(count)[:, None])
    found = by_surgery([Product(several, columns), other])
    assert sorted(found.order) == list(range(count))
    assert len(found.errors) == count
    for gone in range(count):
        units = found.order[:gone]
        exact = sum(least(each, columns[units].reshape(-1)) for each in several) / sum(p.power for p in several)
        exact += least(other.problems[0], units) / other.power
        assert found.errors[gone] == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_the_first_to_go_is_the_best_and_the_others_near() -> None:
    ratios = []
    for _ in range(20):
        given = problem(3, 8)
        found = by_surgery([Product([given], np.arange(8)[:, None])])
        best = [min(least(given, np.array(some)) for some in combinations(range(8), count)) for count in range(1, 5)]
        assert found.errors[1] == pytest.approx(best[0] / given.power, rel=1e-6)
        ratios.append(found.errors[4] * given.power / best[3])
    assert min(ratios) >= 1 - 1e-6
    assert float(np.median(ratios)) < 1.5


def test_of_twins_one_goes_for_nothing() -> None:
    """By each alone both would."""
    x = RNG.standard_normal((60, 6))
    x[:, 4] = x[:, 1]
    weight = RNG.standard_normal((5, 6))
    given = Product([Problem.of(weight, x.T @ x, weight @ x.T @ x)], np.arange(6)[:, None])
    found = by_surgery([given])
    assert found.order[0] in (1, 4)
    assert found.order[1] not in (1, 4)
    assert found.errors[1] < 0.1 * costs(given)[found.order[0]]  # but for damping


def test_independent_inputs_cost_what_they_give() -> None:
    sizes, weight = RNG.uniform(0.5, 2, 12), RNG.standard_normal((7, 12))
    given = Product([Problem(np.diag(sizes), weight)], np.arange(12).reshape(4, 3))
    alone = by_scores(costs(given))
    surgery = by_surgery([given])
    np.testing.assert_array_equal(alone.order, surgery.order)
    np.testing.assert_allclose(alone.errors, surgery.errors, rtol=1e-9)


@pytest.mark.parametrize(
    ("units", "width", "multiple", "kept"),
    [
        (40, 1, 8, [40, 32, 24, 16, 8]),
        (10, 1, 8, [10, 8]),
        (8, 1, 8, [8]),
        (6, 1, 8, [6]),
        (12, 64, 8, list(range(12, 0, -1))),
        (6, 4, 8, [6, 4, 2]),
        (5, 1, 1, [5, 4, 3, 2, 1]),
    ],
)
def test_what_may_stay(units: int, width: int, multiple: int, kept: list[int]) -> None:
    assert [units - gone for gone in options(units, width, multiple)] == kept


def test_counts_of_the_least_error() -> None:
    """Of all counts that leave no more."""
    for _ in range(20):
        choices = [
            Choice(np.cumsum(np.sort(RNG.random(6) ** 3)) - 0.0, gain, range(6)) for gain in RNG.uniform(0.05, 0.2, 3)
        ]

        def left(counts: object, choices: list[Choice] = choices) -> float:
            return 2.0 - sum(choice.gain * count for choice, count in zip(choices, counts, strict=True))

        def error(counts: object, choices: list[Choice] = choices) -> float:
            return sum(float(choice.errors[count]) for choice, count in zip(choices, counts, strict=True))

        found = allocated(choices, left, 1.4)
        assert abs(left(found) - 1.4) <= max(choice.gain for choice in choices)
        best = min(error(counts) for counts in product(range(6), repeat=3) if left(counts) <= left(found) + 1e-9)
        assert error(found) <= best + max(float(np.diff(choice.errors).max()) for choice in choices)
