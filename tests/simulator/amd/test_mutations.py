"""Barriers and fences that are missing are noticed by a rule, whatever the order of threads. `make mutations` breaks
kernels of dsc's in more places."""

from __future__ import annotations

from tests.simulator.amd.mutations import case, mutants, verdict


def test_missing_synchronization_is_noticed() -> None:
    code = case("transpose").launch.code
    broken = [mutant for mutant in mutants(code) if mutant.kind.startswith(("barrier", "fence"))]
    assert sorted(mutant.kind for mutant in broken) == ["barrier removed", "fence removed", "fence removed"]
    for mutant in broken:
        assert verdict("transpose", mutant.source).startswith("rule: "), f"{mutant.kind} in line {mutant.line}"


def test_accesses_elsewhere_are_noticed() -> None:
    """Without checks, by what they do to the result."""
    code = case("transpose").launch.code
    moved = [mutant for mutant in mutants(code) if mutant.kind.startswith("access")]
    assert len(moved) >= 8
    assert all(mutant.source != code for mutant in moved)
    for mutant in moved[:: len(moved) // 4]:
        assert verdict("transpose", mutant.source, checks=False) != "nothing", mutant.line


def test_a_kernel_that_is_right_is_not_blamed() -> None:
    assert verdict("transpose", case("transpose").launch.code) == "nothing"
