"""Networks whose channels depend on one another in ways that have names."""

from __future__ import annotations

import numpy as np

from tests.compiled import TextModel
from tests.quantize.nets import weight

ENCODER = TextModel(
    """(float[b,s,24] x) => (float[b,s,24] y) {
        [q] q0 = MatMul(x, wq)
        [q_bias] q1 = Add(q0, bq)
        [k] k0 = MatMul(x, wk)
        [v] v0 = MatMul(x, wv)
        [shape] sizes = Shape(q1)
        [batch] batch = Gather(sizes, zero)
        [steps] steps = Gather(sizes, one)
        [heads] told = Concat<axis=0>(batch, steps, six, four)
        [q_heads] q2 = Reshape(q1, told)
        [k_heads] k2 = Reshape(k0, told)
        [v_heads] v2 = Reshape(v0, told)
        [q_turn] q3 = Transpose<perm=[0,2,1,3]>(q2)
        [k_turn] k3 = Transpose<perm=[0,2,3,1]>(k2)
        [v_turn] v3 = Transpose<perm=[0,2,1,3]>(v2)
        [scores] scores = MatMul(q3, k3)
        [soft] soft = Softmax<axis=-1>(scores)
        [mixed] mixed = MatMul(soft, v3)
        [back] back = Transpose<perm=[0,2,1,3]>(mixed)
        [flat] flat = Concat<axis=0>(batch, steps, all)
        [join] joined = Reshape(back, flat)
        [out] o = MatMul(joined, wo)
        [sum] s1 = Add(o, x)
        [norm] n1 = LayerNormalization(s1, gain, shift)
        [up] u = MatMul(n1, wu)
        [up_bias] ub = Add(u, bu)
        [gelu] g = Erf(ub)
        [down] d = MatMul(g, wd)
        [sum2] s2 = Add(d, n1)
        [norm2] y = LayerNormalization(s2, gain, shift)
    }""",
    {
        "wq": weight(24, 24), "bq": weight(24), "wk": weight(24, 24, seed=1), "wv": weight(24, 24, seed=2),
        "wo": weight(24, 24, seed=3), "wu": weight(24, 40), "bu": weight(40), "wd": weight(40, 24),
        "gain": 1 + weight(24, seed=4) ** 2, "shift": weight(24, seed=5), "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64), "six": np.array([6], np.int64), "four": np.array([4], np.int64),
        "all": np.array([24], np.int64),
    },
    17,
)  # fmt: skip
"""A layer of an encoder as exporters write it: six heads, a perceptron, shapes computed as it runs."""

RESIDUAL = TextModel(
    """(float[n,3,8,8] x) => (float[n,5] y) {
        [stem] a = Conv<pads=[1,1,1,1]>(x, w0)
        [norm] b = BatchNormalization(a, scale, shift, mean, variance)
        [relu] r = Relu(b)
        [expand] e = Conv(r, w1, b1)
        [act] ea = HardSwish(e)
        [deep] d = Conv<group=32, pads=[1,1,1,1]>(ea, w2)
        [pool] p = GlobalAveragePool(d)
        [squeeze] z = Conv(p, w3, b3)
        [gate] zg = Sigmoid(z)
        [scaled] g = Mul(d, zg)
        [project] f = Conv(g, w4)
        [sum] s = Add(f, r)
        [last] m = GlobalAveragePool(s)
        [flat] h = Flatten(m)
        [head] y = Gemm<transB=1>(h, w5, b5)
    }""",
    {
        "w0": weight(16, 3, 3, 3), "scale": 1 + weight(16, seed=1) ** 2, "shift": weight(16, seed=2),
        "mean": weight(16, seed=3), "variance": 0.5 + weight(16, seed=4) ** 2, "w1": weight(32, 16, 1, 1),
        "b1": weight(32), "w2": weight(32, 1, 3, 3), "w3": weight(32, 32, 1, 1), "b3": weight(32),
        "w4": weight(16, 32, 1, 1), "w5": weight(5, 16), "b5": weight(5),
    },
    17,
)  # fmt: skip
"""A stem with a batch norm, an inverted residual with squeeze-and-excite, a head."""

MIXED = TextModel(
    """(float[n,12] x) => (float[n,16] y) {
        [one] a = MatMul(x, w0)
        [total] t = CumSum(a, axis)
        [two] b = MatMul(t, w1)
        [relu] r = Relu(b)
        [three] y = MatMul(r, w2)
    }""",
    {"w0": weight(12, 16), "axis": np.array(1, np.int64), "w1": weight(16, 32), "w2": weight(32, 16)},
    17,
)
"""An operator in between that no rule is about."""
