"""Small models that together have all that a runner must know of."""

from __future__ import annotations

import numpy as np

from tests.compiled import TextModel

_RANDOM = np.random.default_rng(11)


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(np.float32)


IMAGES = TextModel(
    "(float[2,3,13,11] x) => (float[2,5] y) { "
    "c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) "
    "y = Gemm<transB=1>(f, v, u) }",
    {"w": _array(16, 3, 3, 3), "b": _array(16), "v": _array(5, 16), "u": _array(5)},
)
"""All sizes fixed: the pooled allocator; weights that are packed."""

WORDS = TextModel(
    "(float[n,8] x, int64[n,k] ids, float[m] z) => (float[n,8] y, float[n,k,4] g, int64[n] top, bool[n,8] positive, "
    "float[n,8] same) { same = Identity(x) "
    "r = Reshape(z, shape) s = Add(x, r) y = Mul(s, w) g = Gather(table, ids) "
    "top = ArgMax<axis=1, keepdims=0>(x) positive = Greater(x, zero) }",
    {
        "shape": np.array([-1, 8]),
        "w": _array(8),
        "table": _array(5, 4),
        "zero": np.zeros(1, np.float32),
    },
)
"""Free sizes that have to fit one another (z is as large as x, or one row), and indices of 5 rows; outputs of three
types, one of which is an input's memory."""

SHARED = TextModel(
    "(float[n,4] x) => (float[n,4] same, float[n,4] again, float[2,n,2] view, float[3] weight, float scalar) { "
    "same = Identity(x) again = Identity(x) view = Reshape(x, shape) weight = Identity(w) "
    "scalar = ReduceSum<keepdims=0>(x) }",
    {"shape": np.array([2, -1, 2]), "w": _array(3)},
)
"""Outputs that are an input's memory, one another's, and a weight's; one of no dims."""

SCALARS = TextModel("(float a, int64 b) => (float c, int64 d) { c = Exp(a) d = Add(b, b) }")
"""No dims at all."""


def words_feeds(n: int, k: int, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of WORDS."""
    random = np.random.default_rng(seed)
    return {
        "x": random.standard_normal((n, 8)).astype(np.float32),
        "ids": random.integers(-5, 5, (n, k)),
        "z": random.standard_normal(rows * 8).astype(np.float32),
    }
