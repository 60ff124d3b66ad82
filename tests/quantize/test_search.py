from __future__ import annotations

import pytest

from dsc.quantize.search import Search


@pytest.mark.parametrize("needed", [0, 1, 2, 3, 5, 8, 13, 49, 50])
def test_the_fewest_are_found_with_few_evaluations(needed: int) -> None:
    asked: list[int] = []

    def evaluate(count: int) -> float:
        asked.append(count)
        return 1.0 if count >= needed else 0.5

    assert Search(evaluate, 0.9).fewest(50) == needed
    assert len(asked) == len(set(asked)) <= 13


def test_what_cannot_be_reached_says_what_was_best() -> None:
    search = Search(lambda count: min(count, 4) / 10, 0.9)
    assert search.fewest(7) is None
    assert search.best == (4, 0.4)
    assert set(search.tried) == {0, 1, 2, 4, 7}


def test_nothing_may_be_in_float() -> None:
    assert Search(lambda count: 0.0, 0.5).fewest(0) is None
    assert Search(lambda count: 1.0, 0.5).fewest(0) == 0
