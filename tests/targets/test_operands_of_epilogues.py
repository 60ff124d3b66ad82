"""What an epilogue may read besides the anchor's result: the anchor's own operands, its weight, scalars."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiled import TextModel, check, kernels

RANDOM = np.random.default_rng(5)


def rand(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


IMAGE, SQUARE = rand(8, 8, 3, 3), rand(8, 8)

WEIGHT_READ_TWICE = [
    TextModel("(float[8,8,5,5] x) => (float[8,8,3,3] y) { c = Conv(x, w) y = Add(c, w) }", {"w": IMAGE}),
    TextModel("(float[8,8,5,5] x) => (float[8,8,3,3] y) { c = Conv(x, w) d = Mul(c, w) y = Sub(w, d) }", {"w": IMAGE}),
    TextModel("(float[1,8,1,1] x) => (float[8,8,1,1] y) { c = Conv(x, w) y = Add(c, w) }", {"w": rand(8, 8, 1, 1)}),
    TextModel("(float[8,8] x) => (float[8,8] y) { c = MatMul(x, w) y = Add(c, w) }", {"w": SQUARE}),
    TextModel("(float[8,8] x) => (float[8,8] y) { y = Gemm<alpha=1.5, transB=1>(x, w, w) }", {"w": SQUARE}),
    TextModel("(float[2,8,8] x) => (float[2,8,8] y) { c = MatMul(x, w) y = Mul(c, w) }", {"w": rand(2, 8, 8)}),
    # the weight is an output too, and packed in two ways
    TextModel(
        "(float[8,8,5,5] x) => (float[8,8,3,3] y, float[8,8,2,2] z, float[8,8,3,3] v)"
        "{ y = Conv(x, w) z = Conv<strides=[2,2]>(x, w) v = Identity(w) }",
        {"w": IMAGE},
    ),
    # an activation is operand and residual
    TextModel("(float[8,8] x) => (float[8,8] y) { c = MatMul(x, x) d = Mul(c, x) y = Add(d, x) }"),
    TextModel(
        "(float[1,8,6,6] x) => (float[1,8,6,6] y) { c = Conv<pads=[1,1,1,1]>(x, w) d = Add(c, x) y = Mul(d, x) }",
        {"w": IMAGE},
    ),
]


@pytest.mark.parametrize("model", WEIGHT_READ_TWICE, ids=lambda m: m.text.partition("{")[2])
def test_operands_are_read_again(model: TextModel) -> None:
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.proto().graph.input}
    check(model, {name: rand(*shape) for name, shape in shapes.items()})


HEADS = "float[2,4,8,16] q, float[2,4,8,16] k, float[2,4,8,16] v"
SCALARS = [
    ("cpu.gemm", "(float[5,8] x, float s) => (float[5,8] y) { c = MatMul(x, w) y = Mul(c, s) }", {"w": SQUARE}),
    (
        "cpu.gemm",
        "(float[5,8] x, float[8,9] z, float s) => (float[5,9] y)"
        "{ c = Gemm<alpha=0.5>(x, z, s) t = Exp(s) d = Mul(c, s) y = Add(d, t) }",
        {},
    ),
    (
        "cpu.conv2d.direct",
        "(float[1,8,7,7] x, float s) => (float[1,8,3,3] y) { c = Conv<strides=[2,2]>(x, w) d = Mul(c, s) y = Relu(d) }",
        {"w": IMAGE},
    ),
    (
        "cpu.conv2d.depthwise",
        "(float[1,16,6,6] x, float s) => (float[1,16,4,4] y) { c = Conv<group=16>(x, w) y = Mul(s, c) }",
        {"w": rand(16, 1, 3, 3)},
    ),
    (
        "cpu.attention",
        f"({HEADS}, float s) => (float[2,4,8,16] y) {{ t = Transpose<perm=[0,1,3,2]>(k) c = MatMul(q, t)"
        "d = Div(c, s) p = Softmax(d) o = MatMul(p, v) y = Mul(o, s) }",
        {},
    ),
    (
        "cpu.generic",
        "(float[5,8] x, float s) => (float[5,8] y) { c = LayerNormalization(x, w) y = Mul(c, s) }",
        {"w": rand(8)},
    ),
    ("cpu.generic", "(float[5,8] x, float s) => (float[5,8] y) { e = Mul(x, s) c = Softmax(e) y = Mul(c, s) }", {}),
    (
        "cpu.generic",
        "(float[1,8,6,6] x, float s) => (float[1,8,3,3] y)"
        "{ c = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) y = Mul(c, s) }",
        {},
    ),
]


@pytest.mark.parametrize(("kernel", "text", "weights"), SCALARS, ids=lambda p: p if isinstance(p, str) else "")
def test_scalars_known_at_run_time(kernel: str, text: str, weights: dict[str, np.ndarray]) -> None:
    model = TextModel(text, weights)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.proto().graph.input}
    feeds = {name: np.asarray(1.7, np.float32) if name == "s" else rand(*shape) for name, shape in shapes.items()}
    assert kernel in kernels(check(model, feeds))
