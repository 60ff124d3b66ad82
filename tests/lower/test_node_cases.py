"""All of ONNX's operator cases that have a lowering."""

from __future__ import annotations

import pytest

from tests.lower.node_cases import Case, onnx_cases, outcomes

DEVIATIONS = {
    "test_dropout_random_old": "has an output that no run of today produces",
}
"""Cases that are not to pass, and why."""

REFUSALS = ("element type", "random")


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    cases = dict(onnx_cases())
    broken = {name: repr(case) for name, case in cases.items() if not isinstance(case, Case)}
    return broken | outcomes([case for case in cases.values() if isinstance(case, Case)])


def test_every_case_is_right_or_refused(results: dict[str, str]) -> None:
    wrong = {
        name: outcome
        for name, outcome in results.items()
        if outcome != "ok" and not outcome.startswith("unsupported") and name not in DEVIATIONS
    }
    assert not wrong, "\n".join(f"{name}: {outcome}" for name, outcome in wrong.items())


def test_refusals_are_about_number_types_and_randomness(results: dict[str, str]) -> None:
    refused = {outcome for outcome in results.values() if outcome.startswith("unsupported")}
    assert all(any(r in outcome for r in REFUSALS) for outcome in refused), refused


def test_most_cases_pass(results: dict[str, str]) -> None:
    assert sum(outcome == "ok" for outcome in results.values()) >= 880
