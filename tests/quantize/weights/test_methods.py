"""Rounding: to the nearest, half-quadratic, GPTQ; what each is better at, and what is special."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.quantize.weights.gptq import gptq
from dsc.quantize.weights.grid import Grid, Rounded, collected, groups_of
from dsc.quantize.weights.half_quadratic import NORM, half_quadratic
from dsc.quantize.weights.nearest import extremes

GRIDS = [Grid(bits, symmetric) for bits in (4, 8) for symmetric in (True, False)]


def rounded(weight: np.ndarray, grid: Grid, size: int, fit: object = extremes) -> Rounded:
    parts = [(*fit(weight[rows], grid), weight[rows]) for rows in groups_of(len(weight), size)]
    integers = np.concatenate([grid.nearest(values, scales, zeros) for scales, zeros, values in parts])
    return collected(grid, integers, np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts]), size)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(("depth", "size"), [(64, 32), (70, 32), (5, 8), (33, 33)])
def test_nearest_is_off_by_half_a_step(grid: Grid, depth: int, size: int) -> None:
    weight = np.random.default_rng().standard_t(3, (depth, 7)) + 0.3
    found = rounded(weight, grid, min(size, depth))
    assert found.integers.dtype == grid.dtype
    steps = np.repeat(found.scales, found.size, axis=0)[:depth]
    # the zero point is rounded as well, so the extremes may be cut by half a step
    slack = 0.5 if grid.symmetric else 1.0
    assert (np.abs(found.floats() - weight) <= slack * steps * (1 + 1e-5)).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("fit", [extremes, half_quadratic])
def test_special_weights(grid: Grid, fit: object) -> None:
    """Zeros are exact, what is on the grid stays, and the smallest floats do not become NaN."""
    zeros = rounded(np.zeros((8, 3)), grid, 8, fit)
    np.testing.assert_array_equal(zeros.floats(), np.zeros((8, 3)))
    np.testing.assert_array_equal(zeros.scales, np.ones((1, 3)))
    ramp = (np.arange(1 << grid.bits) + (1 if grid.symmetric else 0) + min(grid.least, 0)).clip(max=grid.largest)
    whole = np.stack([ramp * 0.5, ramp * 3.0], axis=1)
    np.testing.assert_allclose(rounded(whole, grid, len(whole), fit).floats(), whole, rtol=1e-6)
    for size in (1e-45, 1e-38, 1e38):
        extreme = np.random.default_rng(0).uniform(-1, 1, (16, 4)) * size
        found = rounded(extreme, grid, 16, fit).floats()
        assert np.isfinite(found).all()
        assert (np.abs(found - extreme) <= max(size / 3, 1e-45)).all()
    one_sided = np.random.default_rng(1).uniform(2, 3, (16, 4))
    assert (rounded(one_sided, grid, 16, fit).floats() > 1).all()


@pytest.mark.parametrize("grid", GRIDS[:2], ids=str)
def test_half_quadratic_has_the_smaller_norm(grid: Grid) -> None:
    """In every group, and squares are no larger either: it cuts nothing off."""
    weight = np.random.default_rng(2).standard_t(2, (64, 200))
    errors = [np.abs(rounded(weight, grid, 64, fit).floats() - weight) for fit in (extremes, half_quadratic)]
    norms = [np.power(error, NORM).sum(axis=0) for error in errors]
    assert np.linalg.norm(errors[1]) < np.linalg.norm(errors[0])
    assert (norms[1] <= norms[0] * (1 + 1e-6)).all()
    assert norms[1].mean() < 0.98 * norms[0].mean()


def outputs_off(weight: np.ndarray, found: Rounded, inputs: np.ndarray) -> float:
    return float(np.linalg.norm(inputs @ (found.floats() - weight)) / np.linalg.norm(inputs @ weight))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("size", [16, 96])
def test_gptq_moves_outputs_less(grid: Grid, size: int) -> None:
    """On inputs that go together, as those of layers do, and on ones it has not seen."""
    random = np.random.default_rng(4)
    weight, mixing = random.standard_normal((150, 20)), random.standard_normal((40, 150))
    seen, unseen = (random.standard_normal((400, 40)) @ mixing + random.standard_normal((400, 150)) for _ in range(2))
    plain = rounded(weight, grid, size)
    better = gptq(weight, seen.T @ seen, grid, size, extremes)
    assert outputs_off(weight, better, seen) < 0.7 * outputs_off(weight, plain, seen)
    assert outputs_off(weight, better, unseen) < 0.8 * outputs_off(weight, plain, unseen)


def test_gptq_of_independent_inputs_is_rounding_to_nearest() -> None:
    weight = np.random.default_rng(5).standard_normal((40, 6))
    found = gptq(weight, np.eye(40), GRIDS[0], 16, extremes)
    np.testing.assert_array_equal(found.floats(), rounded(weight, GRIDS[0], 16).floats())


def test_gptq_of_inputs_that_never_vary() -> None:
    """Columns of zeros, and fewer samples than inputs."""
    random = np.random.default_rng(6)
    inputs = random.standard_normal((5, 40))
    inputs[:, ::3] = 0
    weight = random.standard_normal((40, 6))
    for hessian in (inputs.T @ inputs, np.zeros((40, 40))):
        found = gptq(weight, hessian, GRIDS[1], 40, extremes)
        assert np.abs(found.floats() - weight).max() < 2 * np.abs(weight).max()
