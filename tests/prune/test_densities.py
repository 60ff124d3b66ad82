"""How the densities of layers come about."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.prune.densities import MEASURED, MOST, Loss, by_loss, by_magnitude, uniform
from dsc.prune.problem import Problem
from dsc.sparsity import Pattern

RNG = np.random.default_rng()


def curve(factor: float) -> tuple[float, ...]:
    return tuple(factor * np.exp(5 * share) for share in MEASURED)


@pytest.mark.parametrize("sparsity", [0.05, 0.3, 0.5, 0.8, 0.95])
def test_the_total_is_what_is_asked_for(sparsity: float) -> None:
    losses = {str(i): Loss(int(size), curve(10.0 ** -(i % 4))) for i, size in enumerate(RNG.integers(100, 99999, 9))}
    total = sum(loss.size for loss in losses.values())
    kept = (1 - sparsity) * total
    sizes = {name: loss.size for name, loss in losses.items()}
    for found in (by_loss(losses, kept), uniform(sizes, kept)):
        assert sum(found[name] * sizes[name] for name in sizes) == pytest.approx(kept, rel=0.01)
        assert all(0 <= density <= 1 for density in found.values())


def test_the_sensitive_layer_keeps_more() -> None:
    found = by_loss({"calm": Loss(1000, curve(1e-4)), "sensitive": Loss(1000, curve(1e-2))}, 1000)
    assert found["sensitive"] > found["calm"] + 0.3


def test_no_exchange_between_two_layers_makes_the_sum_less() -> None:
    losses = {"a": Loss(3000, curve(1e-3)), "b": Loss(500, curve(3e-3)), "c": Loss(9000, curve(2e-4))}
    found = by_loss(losses, 5000)
    places = np.linspace(0, MOST, len(losses["a"].curve))

    def total(densities: dict[str, float]) -> float:
        return sum(float(np.interp(1 - d, places, losses[n].curve)) for n, d in densities.items())

    for one in losses:
        for other in losses:
            moved = dict(found)
            moved[one] += 100 / losses[one].size
            moved[other] -= 100 / losses[other].size
            if one != other and moved[one] <= 1 and moved[other] >= 1 - MOST:
                assert total(moved) >= total(found) * 0.999


def test_losses_rise_with_the_sparsity() -> None:
    weight = RNG.standard_normal((16, 24))
    x = RNG.standard_normal((99, 24))
    found = Loss.of([Problem.of(weight, x.T @ x, weight @ x.T @ x)], weight.size, Pattern())
    assert found.size == weight.size
    assert list(found.errors) == sorted(found.errors)
    assert (np.diff(found.curve) >= 0).all()
    assert found.curve[0] == 0
    assert found.curve[-1] < 1.5


def test_one_threshold_of_magnitudes() -> None:
    weights = {"small": RNG.standard_normal((8, 8)), "large": 10 * RNG.standard_normal((8, 8))}
    found = by_magnitude(weights, 64, Pattern())
    every = np.sort(np.concatenate([np.abs(w).reshape(-1) for w in weights.values()]))
    for name, weight in weights.items():
        assert found[name] == pytest.approx(np.mean(np.abs(weight) >= every[64]))
