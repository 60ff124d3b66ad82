"""The measure of an error."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.check import compare


def test_scale_is_at_least_one_and_follows_the_reference() -> None:
    small = compare("y", np.float32([0.5, -0.25]), np.float32([0.5, -0.249]))
    assert small.scale == 1.0
    assert small.max_abs == pytest.approx(1e-3, rel=1e-4)
    large = compare("y", np.float32([200.0, -400.0]), np.float32([200.0, -396.0]))
    assert (large.max_abs, large.relative) == (4.0, 0.01)
    assert large.within(0.01)
    assert not large.within(0.0099)


def test_not_finite() -> None:
    same = np.float32([np.nan, np.inf, -np.inf, 1])
    assert compare("y", same, same.copy()).max_abs == 0
    for other in ([1, np.inf, -np.inf, 1], [np.nan, -np.inf, -np.inf, 1], [np.nan, np.inf, -np.inf, np.nan]):
        assert compare("y", same, np.float32(other)).max_abs == np.inf


def test_other_shape_or_dtype() -> None:
    error = compare("y", np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))
    assert str(error) == "y: expected float32[2, 3], found float32[3, 2]"
    assert not error.within(1e9)
    assert "found float64[2]" in str(compare("y", np.zeros(2, np.float32), np.zeros(2)))


def test_winners_of_class_scores() -> None:
    expected = np.float32([[0.1, 0.2, 0.9], [0.5, 0.50001, 0.1]])
    flipped = np.float32([[0.1, 0.2, 0.9], [0.50002, 0.50001, 0.1]])
    error = compare("scores", expected, flipped)
    assert error.top1 == 0.5
    assert error.classes
    assert error.relative < 1e-4
    assert not error.within(1e-4)  # near enough in numbers, but another winner


def test_ties_have_several_winners() -> None:
    tied = np.full((1, 10, 1, 1), 0.1, np.float32)
    other = tied.copy()
    other[0, 7] += 1e-8
    assert compare("scores", tied, other).top1 == 1.0


def test_integers_booleans_and_strings() -> None:
    big = np.array([2**62, 3])
    assert compare("i", big, big + np.array([0, 1])).max_abs == 1
    assert compare("b", np.array([True, False]), np.array([True, True])).max_abs == 1
    assert compare("s", np.array(["a", "b"], object), np.array(["a", "c"], object)).mismatch == "strings differ"
