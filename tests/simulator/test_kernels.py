"""Kernels written by hand compute what they should, in all orders, with and without checks."""

from __future__ import annotations

import pytest

from dsc.simulator import simulated_cuda
from tests.simulator.cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernels_compute_in_every_order(case: Case) -> None:
    for order in ("forward", "reverse", 7):
        with simulated_cuda("sm_80", order=order) as simulation:
            assert case.error(simulation, case.source, seed=3) <= case.tolerance


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernels_compute_without_checks_and_on_two_workers(case: Case) -> None:
    with simulated_cuda("sm_80", checks=False, workers=2) as simulation:
        assert case.error(simulation, case.source, seed=4) <= case.tolerance
