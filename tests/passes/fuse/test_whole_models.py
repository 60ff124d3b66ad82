"""Models on which fusing went wrong: compiled, and compared with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiled import TextModel, check, kernels

RANDOM = np.random.default_rng(9)


def rand(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.standard_normal(shape), np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("dims", ["2,h", "h,2", "h,g"])
def test_leading_dims_without_a_name(dims: str) -> None:
    """Swin, by PyTorch's older exporter: the flat tensor's last dim is known from the weight only."""
    text = f"""(float[{dims},c] x) => (float[a,b,6] y) {{
        sh = Shape(x) c = Gather(sh, two) flat = Concat<axis=0>(rest, c) f = Reshape(x, flat) p = MatMul(f, w)
        n = Gather(sh, zero) g = Gather(sh, one) whole = Concat<axis=0>(n, g, six) y = Reshape(p, whole) }}"""
    numbers = {"zero": 0, "one": 1, "two": 2, "six": 6, "rest": -1}
    weights = {"w": rand(8, 6)} | {name: ints(value) for name, value in numbers.items()}
    check(TextModel(text, weights), {"x": rand(2, 2, 8)})


QKV = """(float[2,7,16] x) => (float[2,7,16] y) {
    qp = MatMul(x, wq) q1 = Add(qp, bq) kp = MatMul(x, wk) k1 = Add(bk, kp) vp = MatMul(x, wv) v1 = Add(vp, bv)
    q2 = Reshape(q1, heads) k2 = Reshape(k1, heads) v2 = Reshape(v1, heads)
    q = Transpose<perm=[0,2,1,3]>(q2) k = Transpose<perm=[0,2,3,1]>(k2) v = Transpose<perm=[0,2,1,3]>(v2)
    s = MatMul(q, k) p = Softmax(s) o = MatMul(p, v) ot = Transpose<perm=[0,2,1,3]>(o) y = Reshape(ot, joined) }"""


@pytest.mark.parametrize("shapes", [[(), (), ()], [(), (16,), (1,)], [(1, 1, 16), (1, 1), ()]])
def test_projections_that_add_a_scalar(shapes: list[tuple[int, ...]]) -> None:
    weights = {f"w{name}": rand(16, 16) for name in "qkv"}
    weights |= {f"b{name}": rand(*shape) for name, shape in zip("qkv", shapes, strict=True)}
    model = TextModel(QKV, {**weights, "heads": ints(2, 7, 2, 8), "joined": ints(2, 7, 16)})
    assert sorted(kernels(check(model, {"x": rand(2, 7, 16)}))) == ["cpu.attention", "cpu.gemm"]


W, W1, W2 = rand(16, 8, 3, 3), rand(16, 1, 3, 3), rand(16, 8, 2, 2)
EMPTY = [
    ("(float[1,8,6,6] x) => (float[1,16,4,4] y, float[1,0,4,4] z) { c = Conv(x, w) y, z = Split<axis=1>(c, parts) }",
     {"w": W, "parts": ints(16, 0)}),
    ("""(float[1,8,6,6] x) => (float[1,8,4,4] y, float[1,0,4,4] z, float[1,8,4,4] u)
        { c = Conv(x, w) y, z, v = Split<axis=1>(c, parts) u = Relu(v) }""", {"w": W, "parts": ints(8, 0, 8)}),
    ("(float[1,8,6,6] x, float[1,0,4,4] e) => (float[1,16,4,4] y) { c = Conv(x, w) y = Concat<axis=1>(c, e) }",
     {"w": W}),
    ("(float[0,8,6,6] x) => (float[0,16,4,4] y) { c = Conv(x, w) y = Relu(c) }", {"w": W}),
    ("(float[1,8,6,6] x) => (float[1,0,4,4] y) { c = Conv(x, w) y = Relu(c) }", {"w": rand(0, 8, 3, 3)}),
    ("(float[0,16,6,6] x) => (float[0,16,4,4] y) { c = Conv<group=16>(x, w) y = Relu(c) }", {"w": W1}),
    ("(float[0,16,6,6] x) => (float[0,8,12,12] y) { y = ConvTranspose<strides=[2,2]>(x, w) }", {"w": W2}),
    ("(float[2,0,6,6] x) => (float[2,0,3,3] y) { y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x) }", {}),
    ("(float[0,16,6,6] x) => (float[0,16,1,1] y) { y = GlobalAveragePool(x) }", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "weights"), EMPTY, ids=range(len(EMPTY)))
def test_tensors_without_elements(text: str, weights: dict[str, np.ndarray]) -> None:
    """What has no elements needs no code; ONNX Runtime does not take all of these, so the shapes are the model's."""
    model = TextModel(text, weights)
    graph = model.proto().graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)}
    feeds = {value.name: rand(*shapes[value.name]) for value in graph.input}
    empty = all(0 in shapes[value.name] for value in graph.output)
    expected = [np.zeros(shapes[v.name], np.float32) for v in graph.output] if empty else model.reference(feeds)
    compilation = check(model, feeds, expected=[expected])
    assert not empty or set(kernels(compilation)) <= {"cpu.empty"}


def test_the_mask_of_a_dropout_is_true() -> None:
    text = """(float[a,4] x) => (float[a,4] y, bool[a,4] z)
        { r = Relu(x) y, z = Dropout(r, ratio) }"""
    check(TextModel(text, {"ratio": np.array(0.3, np.float32)}), {"x": rand(3, 4)})
