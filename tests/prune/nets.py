"""A float network that classifies, with data that it is right about, and a convolution beside a batch norm."""

from __future__ import annotations

import numpy as np

from tests.compiled import TextModel
from tests.quantize.nets import weight

SHARED = TextModel(
    """(float[n,24] x) => (float[n,6] y) {
        [first] a = MatMul(x, w)
        [sum] b = Add(a, c)
        [relu] r = Relu(b)
        [again] d = MatMul(r, w)
        [relu2] e = Relu(d)
        [out] y = Gemm(e, v)
    }""",
    {"w": weight(24, 24), "c": weight(24, seed=3), "v": weight(24, 6)},
    14,
)
"""One weight that two products read."""

CHAIN = TextModel(
    """(float[n,24] x) => (float[n,6] y) {
        [first] a = MatMul(x, w)  [sum] b = Add(a, c)  [relu] r = Relu(b)
        [second] d = Gemm(r, u)  [relu2] e = Relu(d)  [out] y = Gemm(e, v)
    }""",
    {"w": weight(24, 40), "c": weight(40, seed=3), "u": weight(40, 30), "v": weight(30, 6)},
    14,
)
"""Three products with nothing between them but what is of each channel."""

NORM = TextModel(
    """(float[1,4,9,7] x) => (float[1,10,c,d] y) {
        [conv] a = Conv<pads=[1,1,1,1]>(x, w0)
        [norm] b = BatchNormalization(a, scale, shift, mean, variance)
        [relu] r = Relu(b)
        [grouped] g = Conv<group=2>(r, w1, b1)
        [deep] h = Conv<group=8, pads=[1,1,1,1]>(g, w2)
        [last] y = Conv(h, w3)
    }""",
    {
        "w0": weight(8, 4, 3, 3), "scale": 1 + weight(8, seed=1) ** 2, "shift": weight(8, seed=2),
        "mean": weight(8, seed=3), "variance": 0.5 + weight(8, seed=4) ** 2, "w1": weight(8, 4, 3, 3), "b1": weight(8),
        "w2": weight(8, 1, 3, 3), "w3": weight(10, 8, 1, 1),
    },
    17,
)  # fmt: skip
"""A batch norm that stays, a convolution in groups, a depthwise one."""


def rows(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Inputs of `SHARED` that go together, as those in use do."""
    random, mixing = np.random.default_rng([seed, 5]), np.random.default_rng(5).standard_normal((10, 24))
    return [{"x": (random.standard_normal((8, 10)) @ mixing).astype(np.float32)} for _ in range(count)]
