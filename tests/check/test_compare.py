"""What is near enough: a table of right and wrong outputs."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from dsc.check import Tolerance, compare
from dsc.errors import UsageError

RANDOM = np.random.default_rng(11)
NORMAL = RANDOM.standard_normal(1000).astype(np.float32)
HUGE = np.concatenate([np.float32([1e8, -3e9]), NORMAL])


@dataclass(frozen=True)
class Case:
    """An output of the reference, what was found, and whether that is right."""

    why: str
    expected: np.ndarray
    found: np.ndarray
    right: bool


def case(why: str, expected: object, found: object, right: bool, dtype: object = np.float32) -> Case:
    return Case(why, np.array(expected, dtype), np.array(found, dtype), right)


CASES = [
    case("same", NORMAL, NORMAL, True),
    case("a rounding", NORMAL, NORMAL * np.float32(1 + 3e-7), True),
    case("a tenth of a percent", NORMAL, NORMAL * np.float32(1.001), False),
    case("tiny outputs have a scale too", 1e-6 * NORMAL, -9e-6 * NORMAL, False),
    case("denormal ones may be flushed", [1e-40, 1.0], [0.0, 1.0], True),
    case("all zero but one", [0.0, 0.0, 0.0], [0.0, 1e-6, 0.0], False),
    case("a few huge elements hide nothing", HUGE, HUGE + np.float32(0.01), False),
    case("cancellation leaves little of a large scale", [1e3, -2e3, 0.0], [1e3, -2e3, 1e-4], True),
    case("NaN where NaN is", [np.nan, 1.0], [np.nan, 1.0], True),
    case("NaN for a number", [1.0, 1.0], [np.nan, 1.0], False),
    case("a number for NaN", [np.nan, 1.0], [0.0, 1.0], False),
    case("infinities", [np.inf, -np.inf], [np.inf, -np.inf], True),
    case("the other infinity", [np.inf, 1.0], [-np.inf, 1.0], False),
    case("the largest number is no infinity", [np.inf, 1.0], [3.4e38, 1.0], False),
    case("an infinity for a large number", [3.4e38, 1.0], [np.inf, 1.0], False),
    case("minus zero is zero", [0.0], [-0.0], True),
    case("9 of 100,000", [100_000, 5], [100_009, 5], False, np.int64),
    case("one off at 2**62", [2**62, 5], [2**62 + 1, 5], False, np.int64),
    case("the ends of int64", [-(2**63)], [2**63 - 1], False, np.int64),
    case("uint64 beyond int64", [2**64 - 1], [2**64 - 1], True, np.uint64),
    case("uint64, one off", [2**64 - 1], [2**64 - 2], False, np.uint64),
    case("a step of uint8 is a step", [7, 250], [7, 251], False, np.uint8),
    case("a flag", [True, False], [True, True], False, np.bool_),
    case("float64 is not float32", [1.0, 2.0], [1.0 + 1e-9, 2.0], False, np.float64),
    case("a rounding of float64", [1.0, 2.0], [1.0 + 1e-15, 2.0], True, np.float64),
    case("one unit of float16", [1.0, 2.0], [1.0 + 2**-10, 2.0], True, np.float16),
    case("a percent of float16", [1.0, 2.0], [1.01, 2.0], False, np.float16),
    case("one unit of bfloat16", [1.0, 2.0], [1.0 + 2**-7, 2.0], True, ml_dtypes.bfloat16),
    case("ten percent of bfloat16", [1.0, 2.0], [1.1, 2.0], False, ml_dtypes.bfloat16),
    case("a scalar", 1.5, 1.5, True),
    case("another scalar", 1.5, 1.6, False),
    case("nothing", np.zeros((0, 3)), np.zeros((0, 3)), True),
    case("complex, the imaginary part", [1 + 1j], [1 + 2j], False, np.complex64),
    case("strings", ["a", "b"], ["a", "c"], False, object),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_right_and_wrong(case: Case) -> None:
    error = compare("y", case.expected, case.found)
    assert error.passed == case.right, str(error)


def test_other_shape_or_dtype() -> None:
    error = compare("y", np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32), Tolerance(atol=1e9))
    assert str(error) == "y: expected float32[2, 3], found float32[3, 2]"
    assert not error.passed
    assert "found float64[2]" in str(compare("y", np.zeros(2, np.float32), np.zeros(2)))


def test_numpy_scalars_are_arrays() -> None:
    """ONNX Runtime returns outputs of rank 0 as such."""
    assert compare("y", np.float64(2.0), np.float64(2.0)).passed  # type: ignore[arg-type]
    assert not compare("y", np.float64(2.0), np.array(2.1)).passed  # type: ignore[arg-type]


def test_a_given_tolerance_is_final() -> None:
    expected = np.float32([200.0, -400.0])
    found = np.float32([200.0, -396.0])
    assert compare("y", expected, found, Tolerance(rtol=0.01)).passed
    assert not compare("y", expected, found, Tolerance(rtol=0.0099)).passed
    assert compare("y", expected, found, Tolerance(atol=4)).passed
    assert not compare("y", expected, found, Tolerance(atol=3.99)).passed
    exact = compare("y", expected, np.nextafter(expected, np.float32(0)), Tolerance(atol=0))
    assert exact.wrong == 2
    integers = np.array([100_000])
    assert compare("i", integers, integers + 9, Tolerance(atol=9)).passed
    assert not compare("i", integers, integers + 9, Tolerance(rtol=0.5)).passed  # of integers only atol counts


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (NORMAL, NORMAL + np.float32(0.0123)),
        (1e-6 * NORMAL, -9e-6 * NORMAL),
        (np.array([100_000]), np.array([100_009])),
        (np.float16([1, 2]), np.float16([1.1, 2])),
    ],
)
def test_the_tolerance_that_would_have_passed_does_pass(expected: np.ndarray, found: np.ndarray) -> None:
    error = compare("y", expected, found)
    words = error.remedy.split(" or ")
    assert words[0].startswith("--atol ")
    assert f"it would pass with {error.remedy}" in str(error)
    for word in words:
        option, value = word.removeprefix("--").split()
        assert compare("y", expected, found, Tolerance(**{option: float(value)})).passed
        assert not compare("y", expected, found, Tolerance(**{option: float(value) * 0.9})).passed


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_what_is_no_tolerance(value: float) -> None:
    with pytest.raises(UsageError, match="is no tolerance"):
        Tolerance(atol=value)


def test_nothing_lets_nan_pass() -> None:
    assert not compare("y", np.float32([1, 2]), np.float32([np.nan, 2]), Tolerance(atol=np.inf)).passed
    error = compare("y", np.float32([1, 2]), np.float32([np.nan, 2]))
    assert not error.remedy
    assert "no tolerance would let it pass" in str(error)


def test_the_worst_element_is_named() -> None:
    expected = np.zeros((2, 3), np.float32) + 1
    found = expected.copy()
    found[1, 2], found[0, 1] = 1.5, 1.25
    assert "2 of 6 elements differ by more than allowed, worst [1, 2]: expected 1.0, found 1.5" in str(
        compare("y", expected, found)
    )
