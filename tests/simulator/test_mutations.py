"""Barriers and waits that are missing are noticed by a rule, in whatever order threads run. `make mutations` breaks all
kernels in all places."""

from __future__ import annotations

import pytest

from tests.simulator.cases import BY_NAME
from tests.simulator.mutations import mutants, verdict


@pytest.mark.parametrize("name", ["histogram", "pipeline", "rows", "scan"])
def test_missing_synchronization_is_noticed(name: str) -> None:
    case = BY_NAME[name]
    broken = [mutant for mutant in mutants(case.source) if mutant.kind.startswith(("barrier", "wait"))]
    assert len(broken) >= 2
    for mutant in broken:
        assert verdict(case, mutant.source).startswith("rule: "), f"{mutant.kind} in line {mutant.line}"


def test_mutants_change_one_place_each() -> None:
    source = BY_NAME["scan"].source
    kinds = [mutant.kind for mutant in mutants(source)]
    assert (kinds.count("barrier removed"), kinds.count("limit one too far")) == (2, 3)
    assert kinds.count("index shifted") == 14
    assert all(mutant.source != source for mutant in mutants(source))


def test_a_kernel_that_is_right_is_not_blamed() -> None:
    case = BY_NAME["scan"]
    assert verdict(case, case.source) == "nothing"
