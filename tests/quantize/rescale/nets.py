"""Float models whose channels differ by orders of magnitude, as those of depthwise nets do."""

from __future__ import annotations

import numpy as np

from tests.compiled import TextModel
from tests.quantize.nets import weight


def spread(count: int, seed: int) -> np.ndarray:
    """Factors from a thirtieth to thirty."""
    return np.exp(np.random.default_rng([seed, 5]).uniform(-3.4, 3.4, count)).astype(np.float32)


_A, _B, _C = spread(12, 1), spread(12, 2), spread(10, 3)


def _along(factors: np.ndarray) -> np.ndarray:
    return factors[:, None, None, None]


BLOCK = TextModel(
    """(float[1,5,9,8] x) => (float[1,7,d,e] y) {
        [expand] a = Conv(x, w0, b0)
        [six] a6 = Clip(a, zero, six)
        [deep] b = Conv<pads=[1,1,1,1], group=12>(a6, w1, b1)
        [leaky] bl = LeakyRelu<alpha=0.2>(b)
        [pool] bp = AveragePool<kernel_shape=[2,2], strides=[1,1]>(bl)
        [groups] c = Conv<group=2>(bp, w2)
        [slopes] cp = PRelu(c, slope)
        [one] p = Conv(cp, w3, b3)
        [other] q = Conv<pads=[1,1,1,1]>(cp, w4)
        [sum] y = Add(p, q)
    }""",
    {
        "w0": weight(12, 5, 1, 1) * _along(_A), "b0": weight(12) * _A, "zero": np.float32(0), "six": np.float32(6),
        "w1": weight(12, 1, 3, 3) * _along(_B / _A), "b1": weight(12) * _B,
        "w2": weight(10, 6, 1, 1) / _B.reshape(2, 1, 6, 1, 1).repeat(5, 1).reshape(10, 6, 1, 1) * _along(_C),
        "slope": np.abs(weight(10, 1, 1)), "w3": weight(7, 10, 1, 1) / _C[:, None, None], "b3": weight(7),
        "w4": weight(7, 10, 3, 3) / _C[:, None, None],
    },
    17,
)  # fmt: skip
"""Four pairs, the second with a depthwise convolution between two others; the last has two readers."""

_D, _E = spread(21, 4), spread(13, 5)
ROWS = TextModel(
    """(float[n,19] x) => (float[n,5] y) {
        [first] a = Gemm<transB=1>(x, w0, b0)
        [relu] r = Relu(a)
        [second] b = MatMul(r, w1)
        [bias] bb = Add(b1, b)
        [third] y = Gemm(bb, w2, b2)
    }""",
    {
        "w0": weight(21, 19) * _D[:, None], "b0": weight(21) * _D, "w1": weight(21, 13) / _D[:, None] * _E,
        "b1": weight(13) * _E, "w2": weight(13, 5) / _E[:, None], "b2": weight(5),
    },
    17,
)  # fmt: skip
"""Products of matrices in three notations, a Relu between the first two and nothing but a bias between the others."""

_F = spread(16, 6)
NORM = TextModel(
    """(float[n,6,16] x) => (float[n,6,9] y, float[n,6,4] z) {
        [norm] t = LayerNormalization(x, scale, shift)
        [query] y = MatMul(t, w0)
        [value] z = MatMul(t, w1)
    }""",
    {"scale": _F, "shift": weight(16) * _F, "w0": weight(16, 9), "w1": weight(16, 4, seed=1)},
    17,
)
"""A norm with wide channels that two products read."""

TAIL = TextModel(
    """(float[1,3,8,9] x) => (float[1,8,d,e] y) {
        [stem] a = Conv<pads=[1,1,1,1]>(x, w0, b0)
        [act] h = Abs(a)
        [scale] s = Mul(two, h)
        [shift] t = Add(s, half)
        [deep] y = Conv<group=8>(t, w1)
    }""",
    {
        "w0": weight(8, 3, 3, 3) * _along(spread(8, 7)), "b0": weight(8), "two": np.float32([2]),
        "half": np.float32(0.5), "w1": weight(8, 1, 3, 3) / _along(spread(8, 7)),
    },
    17,
)  # fmt: skip
"""A depthwise convolution behind an activation that lets no factors through, and scalars that do."""
