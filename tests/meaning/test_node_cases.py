"""The bar: of ONNX's core operator cases none is wrong, none ends in an exception, and at least 1,220 pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.meaning.cases import core_cases, parts, refusal, wrong

REFUSED = dict(line.split() for line in Path(__file__).with_name("refused_cases.txt").read_text().splitlines())
"""The cases that are refused, each with the operator that the refusal names."""

PARTS = 8
"""Of the cases that pass, so that several processes can share them."""


def test_at_least_1220_are_to_pass() -> None:
    names = {case.name for case in core_cases()}
    assert set(REFUSED) <= names, "a refusal is listed for what is no case"
    assert len(names - set(REFUSED)) >= 1220


@pytest.mark.parametrize("part", range(PARTS))
def test_those_not_listed_pass(part: int) -> None:
    """Refusals and exceptions count as wrong."""
    found = wrong(parts([c for c in core_cases() if c.name not in REFUSED], PARTS)[part])
    assert not found, "\n".join(f"{name}: {what}" for name, what in found.items())


def test_those_listed_are_refused_and_the_operator_is_named() -> None:
    found = {case.name: refusal(case) for case in core_cases() if case.name in REFUSED}
    assert {name: op for name, op in REFUSED.items() if not re.search(rf"\b{op}\b", found[name])} == {}
