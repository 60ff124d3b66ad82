"""Functions that the processor has no vector instruction for, on ragged shapes large enough to be vectorized."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.meaning.nodes import Node, wrong

SHAPE = (2, 16, 11, 11)
RNG = np.random.default_rng(20261127)

FUNCTIONS: dict[str, tuple[Callable[..., np.ndarray], float, float]] = {
    "Sin": (np.sin, -3, 3), "Cos": (np.cos, -3, 3), "Tan": (np.tan, -1.5, 1.5),
    "Asin": (np.arcsin, -1, 1), "Acos": (np.arccos, -1, 1), "Atan": (np.arctan, -9, 9),
    "Sinh": (np.sinh, -9, 9), "Cosh": (np.cosh, -9, 9), "Tanh": (np.tanh, -9, 9),
    "Asinh": (np.arcsinh, -99, 99), "Acosh": (np.arccosh, 1, 99), "Atanh": (np.arctanh, -0.99, 0.99),
    "Exp": (np.exp, -9, 9), "Log": (np.log, 0.01, 99), "Sqrt": (np.sqrt, 0, 9), "Round": (np.rint, -9, 9),
    "Floor": (np.floor, -9, 9), "Ceil": (np.ceil, -9, 9), "Erf": (np.vectorize(math.erf), -3, 3),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -9, 9), "Softplus": (lambda x: np.log1p(np.exp(x)), -9, 9),
}  # fmt: skip
"""The function and the range to try it on."""


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float16, 4e-3), (np.float32, 1e-5), (np.float64, 1e-9)])
def test_large_ragged_shapes(dtype: type, rtol: float) -> None:
    nodes = []
    for op_type, (function, low, high) in FUNCTIONS.items():
        x = RNG.uniform(low, high, SHAPE).astype(dtype)
        expected = function(x.astype(np.float64)).astype(dtype)
        nodes.append(Node(op_type, [x], [expected], {}, rtol))
    y = RNG.uniform(0.5, 2, SHAPE).astype(dtype)
    x = RNG.uniform(-9, 9, SHAPE).astype(dtype)
    nodes.append(Node("Mod", [x, y], [np.fmod(x, y)], {"fmod": 1}, 1e-6))
    power = np.power(y.astype(np.float64), x.astype(np.float64)).astype(dtype)
    nodes.append(Node("Pow", [y, x], [power], {}, rtol))
    assert wrong(nodes) == {}


def test_remainders_of_constants_have_the_sign_of_the_dividend() -> None:
    x, y = np.array([-0.0922, 7.5, -7.5], np.float32), np.array([0.3209, -2, 2], np.float32)
    assert wrong([Node("Mod", [x, y], [np.fmod(x, y)], {"fmod": 1}, 1e-6)], folded=True) == {}


def test_dropout_and_its_mask() -> None:
    x = RNG.standard_normal((5, 7)).astype(np.float32)
    mask = np.ones((5, 7), bool)
    assert wrong([Node("Dropout", [x], [x, mask]), Node("Dropout", [x, np.array(0.5, np.float32)], [x, mask])]) == {}
