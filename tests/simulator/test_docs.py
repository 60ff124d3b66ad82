"""The code of docs/simulator.md runs, and what it says of the simulator is so."""

from __future__ import annotations

from tests.docs.test_docs import DOCS, executed
from tests.simulator.cases import CASES
from tests.simulator.mutations import mutants


def test_the_page_runs() -> None:
    names = executed("simulator.md")
    assert names["counters"].blocks == 4


def test_the_page_counts_the_mutants_that_there_are() -> None:
    total = sum(1 for case in CASES for _ in mutants(case.source))
    assert f"{total} changes of {len(CASES)} kernels" in (DOCS / "simulator.md").read_text()
