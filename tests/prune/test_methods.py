"""Each method against exact algebra, or against all masks there are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from dsc.prune.methods import METHODS
from dsc.prune.methods.admm import admm
from dsc.prune.methods.magnitude import magnitude
from dsc.prune.methods.obs import obs
from dsc.prune.methods.wanda import wanda
from dsc.prune.problem import Problem
from dsc.prune.refit import refit
from dsc.sparsity import Pattern

RNG = np.random.default_rng()
PATTERNS = ["unstructured", "4x1", "1x4", "3x5", "16x1"]
SHAPES = [(12, 20), (7, 9), (5, 300), (1, 1)]


def problem(outputs: int, depth: int, rows: int | None = None) -> Problem:
    """Of inputs that go together, as those of layers do, and others than the float model's."""
    x = RNG.standard_normal((rows or 4 * depth + 8, depth))
    x = x @ (np.eye(depth) + RNG.standard_normal((depth, depth)) / np.sqrt(depth))
    weight, y = RNG.standard_normal((outputs, depth)), x + 0.1 * RNG.standard_normal(x.shape)
    return Problem.of(weight, x.T @ x, (y @ weight.T).T @ x)


def best(given: Problem, kept: int) -> float:
    """The least error of one output with so many weights, of all sets there are."""
    depth, least = given.target.shape[1], np.inf
    wanted = given.target @ given.hessian
    for some in combinations(range(depth), kept):
        at = np.ix_(some, some)
        found = np.zeros((1, depth))
        found[0, list(some)] = np.linalg.solve(given.hessian[at], wanted[0, list(some)])
        least = min(least, given.error(found))
    return least


def test_the_target_is_the_ridge_solution() -> None:
    """In exact algebra: the normal equations of ||y - x v||^2 + d ||v - w||^2."""
    x, y, weight = RNG.standard_normal((30, 6)), RNG.standard_normal((30, 4)), RNG.standard_normal((4, 6))
    given = Problem.of(weight, x.T @ x, y.T @ x)
    damping = 0.01 * np.mean(np.sum(x**2, axis=0))
    tall = np.concatenate([x, np.sqrt(damping) * np.eye(6)])
    found = np.linalg.lstsq(tall, np.concatenate([y, np.sqrt(damping) * weight.T]), rcond=None)[0]
    np.testing.assert_allclose(given.target, found.T, rtol=1e-8)
    other = RNG.standard_normal((4, 6))

    def cost(v: np.ndarray) -> float:
        return float(np.sum((y - x @ v.T) ** 2) + damping * np.sum((v - weight) ** 2))

    assert given.error(other) == pytest.approx(cost(other) - cost(given.target), rel=1e-6)


def test_inputs_as_in_float_want_the_float_weight() -> None:
    x, weight = RNG.standard_normal((3, 8)), RNG.standard_normal((5, 8))  # fewer rows than depth
    x[:, 2] = 0
    np.testing.assert_allclose(Problem.of(weight, x.T @ x, weight @ x.T @ x).target, weight, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.3, 0.5, 1.0])
def test_densities_and_blocks(name: str, pattern: str, shape: tuple[int, int], density: float) -> None:
    known, given = Pattern.parse(pattern), problem(*shape)
    found = METHODS[name].prune(given, known, density)
    assert found.shape == shape
    assert np.isfinite(found).all()
    blocks = known.occupied(found)
    slack = 0 if name != "wanda" else len(blocks)  # rounded for each output
    assert abs(blocks.sum() - density * blocks.size) <= slack / 2 + 0.5
    if density == 1.0:
        np.testing.assert_allclose(found, given.target, atol=1e-3 * np.abs(given.target).max())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4x2:4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_n_of_m(name: str, pattern: str, shape: tuple[int, int]) -> None:
    known = Pattern.parse(pattern)
    assert known.holds(METHODS[name].prune(problem(*shape), known, 0.5))


def test_surgery_of_independent_inputs_is_magnitude_by_their_size() -> None:
    """Nothing that stays can make up for what goes, so weights stay as they are."""
    weight, sizes = RNG.standard_normal((9, 30)), RNG.uniform(0.5, 2, 30)
    given = Problem(np.diag(sizes), weight)
    mask = Pattern().keep(weight**2 * sizes, 0.4)
    for method in (obs, admm):
        np.testing.assert_allclose(method(given, Pattern(), 0.4), np.where(mask, weight, 0), atol=1e-9)
    np.testing.assert_array_equal(obs(Problem(np.eye(30), weight), Pattern(), 0.4), magnitude(given, Pattern(), 0.4))


def test_surgery_leaves_the_least_error_of_its_mask_behind_the_columns_gone() -> None:
    """One weight gone from the first column: the others of the output are the exact optimum."""
    given = problem(1, 7)
    given.target[0, 0] = 1e-3
    found = obs(given, Pattern(), 6 / 7)
    assert found[0, 0] == 0
    left = np.linalg.solve(given.hessian[1:, 1:], (given.target @ given.hessian)[0, 1:])
    np.testing.assert_allclose(found[0, 1:], left, rtol=1e-8)


def test_without_data_the_error_is_that_of_the_weights() -> None:
    """And takes no memory of the depth's square: the first product behind an image has 25,088 inputs."""
    weight = RNG.standard_normal((3, 50_000))
    given = Problem.without_data(weight)
    assert given.hessian.size == 50_000
    found = magnitude(given, Pattern(), 0.25)
    assert given.error(found) == pytest.approx(np.sum((weight - found) ** 2))
    assert given.power == pytest.approx(np.sum(weight**2))
    mask = RNG.random(weight.shape) < 0.5
    np.testing.assert_array_equal(refit(given, given.target, mask), np.where(mask, weight, 0))


def test_wanda_compares_within_an_output() -> None:
    weight, sizes = RNG.standard_normal((6, 10)), RNG.uniform(0.5, 2, 10)
    weight[0] *= 100
    found = wanda(Problem(np.diag(sizes), weight), Pattern(), 0.5)
    for row, kept in zip(np.abs(weight) * np.sqrt(sizes), found, strict=True):
        assert set(np.flatnonzero(kept)) == set(np.argsort(-row)[:5])


@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "2:4"])
def test_a_refit_is_exact_and_never_worse(pattern: str) -> None:
    given = problem(8, 24)
    mask = Pattern.parse(pattern).keep(RNG.random((8, 24)), 0.5)
    start = np.where(mask, RNG.standard_normal((8, 24)), 0)
    before = given.error(start)
    for steps in (0, 1, 2, 5, 50):
        found = refit(given, start, mask, steps)
        assert not found[~mask].any()
        after = given.error(found)
        assert after <= before * (1 + 1e-9)
        before = after
    exact = np.zeros_like(found)
    for row, kept, target in zip(exact, mask, given.target, strict=True):
        row[kept] = np.linalg.solve(given.hessian[np.ix_(kept, kept)], (target @ given.hessian)[kept])
    assert given.error(exact) <= before <= given.error(exact) * (1 + 1e-5)


def test_what_keeps_most_of_outputs() -> None:
    """Of one output, near the best of all masks; of many, better the more a method knows."""
    ratios = []
    for _ in range(30):
        given = problem(1, 10)
        ratios.append(given.error(admm(given, Pattern(), 0.5)) / best(given, 5))
    assert min(ratios) >= 1 - 1e-6
    assert float(np.median(ratios)) < 2
    for pattern in ("unstructured", "4x1", "2:4"):
        known, many = Pattern.parse(pattern), [problem(32, 64) for _ in range(10)]
        errors = [sum(given.error(method(given, known, 0.5)) for given in many) for method in (wanda, obs, admm)]
        assert errors[2] < errors[1] < errors[0], pattern


def test_inputs_that_are_always_zero() -> None:
    """Their weights tell outputs nothing, and are told nothing: each goes or stays as it was."""
    x = RNG.standard_normal((5, 40))
    x[:, ::3] = 0
    weight = RNG.standard_normal((6, 40))
    for gram in (x.T @ x, np.zeros((40, 40)), np.full((40, 40), -1e-60)):  # what float32 leaves of tiny squares
        idle = np.diagonal(gram) <= 0
        for method in (wanda, obs, admm):
            given = Problem.of(weight, gram, weight @ gram)
            found = method(given, Pattern(), 0.5)
            assert given.error(found) < given.power
            kept = found[:, idle] != 0
            np.testing.assert_allclose(found[:, idle][kept], weight[:, idle][kept], rtol=1e-6)
