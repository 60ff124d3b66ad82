"""Small float models with what networks are made of, on ragged sizes, and samples of them."""

from __future__ import annotations

import numpy as np
import onnx

from tests.compiled import TextModel

Feed = dict[str, np.ndarray]


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal, of variance 1 over the fan-in."""
    random = np.random.default_rng([seed, *shape])
    return (random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)


CONVS = TextModel(
    """(float[1,3,13,11] x) => (float[1,6,c,d] y) {
        [stem] a = Conv<pads=[1,1,1,1]>(x, w0, b0)
        [norm] n = BatchNormalization(a, scale, shift, mean, variance)
        [relu] r = Relu(n)
        [deep] d0 = Conv<pads=[1,1,1,1], group=8>(r, w1)
        [join] j = Concat<axis=1>(r, d0)
        [pool] p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(j)
        [point] q = Conv(p, w2, b2)
        [side] q2 = Conv(p, w3)
        [sum] s = Add(q, q2)
        [last] y = Conv(s, w4, b4)
    }""",
    {
        "w0": weight(8, 3, 3, 3), "b0": weight(8), "scale": 1 + weight(8, seed=1) ** 2, "shift": weight(8, seed=2),
        "mean": weight(8, seed=3), "variance": 0.5 + weight(8, seed=4) ** 2, "w1": weight(8, 1, 3, 3),
        "w2": weight(12, 16, 1, 1), "b2": weight(12), "w3": weight(12, 16, 1, 1, seed=5), "w4": weight(6, 12, 3, 3),
        "b4": weight(6),
    },
    17,
)  # fmt: skip
"""Five convolutions, one depthwise, with a batch norm, a Concat and a pool of bytes, and a sum."""

PRODUCTS = TextModel(
    """(float[n,5,24] x) => (float[n,5,7] y) {
        [key] k = MatMul(x, wk)
        [key_bias] kb = Add(bk, k)
        [turn] t = Transpose<perm=[0,2,1]>(kb)
        [scores] s = MatMul(x, t)
        [soft] p = Softmax<axis=-1>(s)
        [flip] v = Neg(x)
        [mix] m = MatMul(p, v)
        [sum] r = Add(m, x)
        [out] o = MatMul(r, wo)
        y = Relu(o)
    }""",
    {"wk": weight(24, 24), "bk": weight(24), "wo": weight(24, 7)},
    17,
)
"""Two products by weights, one with a bias, and two of computed factors: an attention."""

DENSE = TextModel(
    """(float[n,19] x) => (float[n,5] y) {
        [first] a = Gemm<transB=1>(x, w0, b0)
        b = Relu(a)
        [second] y = Gemm(b, w1, b1)
    }""",
    {"w0": weight(23, 19), "b0": weight(23), "w1": weight(23, 5), "b1": weight(5)},
    13,
)


def samples(model: TextModel, count: int = 6, seed: int = 0) -> list[Feed]:
    """Random inputs, never the same twice; free dims are 3."""
    random = np.random.default_rng([seed, 77])
    (value,) = model.proto().graph.input
    shape = [dim.dim_value or 3 for dim in value.type.tensor_type.shape.dim]
    return [{value.name: random.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def names(model: onnx.ModelProto, *ops: str) -> list[str]:
    """The names of the nodes of these operators."""
    return [node.name for node in model.graph.node if node.op_type in ops]
