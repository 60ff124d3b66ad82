# ruff: noqa: E501 - graphs are written on one line
"""Reductions of one element and of none: groups of one channel, products with K = 0, reductions over an empty axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import dsc

ONE_CHANNEL = [
    "(float[2,3,4,4] x, float[6,1,1,1] w) => (float[2,6,4,4] y) { y = Conv<group=3>(x, w) }",
    "(float[2,3,5] x, float[6,1,1] w, float[6] b) => (float[2,6,5] y) { y = Conv<group=3>(x, w, b) }",
    "(float[2,3,4,4,2] x, float[9,1,1,1,1] w) => (float[2,9,4,4,2] y) { y = Conv<group=3>(x, w) }",
    "(float[2,3,4,4] x, float[3,2,1,1] w) => (float[2,6,4,4] y) { y = ConvTranspose<group=3>(x, w) }",
    "(float[2,3,4] x, float[3,2,1] w) => (float[2,6,4] y) { y = ConvTranspose<group=3>(x, w) }",
    "(float[3,1] x, float[1,4] w) => (float[3,4] y, float[3,4] z) { y = Einsum<equation = \"ij,jk->ik\">(x, w) z = MatMul(x, w) }",
    "(float[3,1,5] x) => (float[3,1,5] a, float[3,1,5] b, float[3,1,5] c, float[3,1,5] d) "
    "{ k = Constant<value_ints=[1]>() a = ReduceSum(x, k) b = ReduceMax(x, k) c = ReduceMean(x, k) d = ReduceL2(x, k) }",
    "(float[1,2,5,5] x) => (float[1,2,5,5] a, float[1,2,5,5] b) { a = MaxPool<kernel_shape=[1,1]>(x) b = AveragePool<kernel_shape=[1,1]>(x) }",
    "(float[1,2,1,1] x) => (float[1,2,1,1] a, float[1,2,1,1] b) { a = GlobalMaxPool(x) b = GlobalAveragePool(x) }",
]  # fmt: skip


@pytest.mark.parametrize("text", ONE_CHANNEL)
def test_sums_of_one_element_have_a_start(text: str) -> None:
    model = _model(text)
    feeds = _feeds(model, {})
    # onnx.reference cannot do grouped transposed convolutions
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    _check(model, feeds, expected)


_REDUCTIONS = (
    "=> (float[3] a, float[3] c, float[3] d, float[3] e, float[3] g, float[3] h) "
    "{ k = Constant<value_ints=[AXIS]>() a = ReduceSum<keepdims=0>(x, k) c = ReduceMean<keepdims=0>(x, k) "
    "d = ReduceL2<keepdims=0>(x, k) e = ReduceProd<keepdims=0>(x, k) "
    "g = ReduceLogSum<keepdims=0>(x, k) h = ReduceSumSquare<keepdims=0>(x, k) }"
)
NONE = [
    ("(float[2,0] x, float[0,4] w, float[4] b) => (float[2,4] y, float[2,4] z) { z = MatMul(x, w) t = Add(z, b) y = Relu(t) }", {}),
    ("(float[3,2,k] x, float[3,k,4] w) => (float[3,2,4] y) { y = MatMul(x, w) }", {"k": 0}),
    ("(float[n,k] x, float[k,37] w, float[37] b) => (float[n,37] y) { y = Gemm(x, w, b) }", {"n": 5, "k": 0}),
    ("(float[k,3] x, float[k,37] w) => (float[3,37] y) { y = Gemm<transA=1>(x, w) }", {"k": 0}),
    ("(double[n,k] x, double[k,4] w) => (double[n,4] y) { y = MatMul(x, w) }", {"n": 3, "k": 0}),
    ("(int32[n,k] x, int32[k,4] w) => (int32[n,4] y) { y = MatMul(x, w) }", {"n": 3, "k": 0}),
    ("(float[3,0] x, float[0,4] w) => (float[3,4] y) { y = Einsum<equation = \"ij,jk->ik\">(x, w) }", {}),
    ("(float[3,k] x, float[k,4] w) => (float[3,4] y) { y = Einsum<equation = \"ij,jk->ik\">(x, w) }", {"k": 0}),
    ("(float[1,0,4,4] x, float[2,0,3,3] w, float[2] b) => (float[1,2,2,2] y) { y = Conv(x, w, b) }", {}),
    ("(float[3,n] x) " + _REDUCTIONS.replace("AXIS", "1"), {"n": 0}),
    ("(float[n,3] x) " + _REDUCTIONS.replace("AXIS", "0"), {"n": 0}),
    ("(float[n,3] x) => (float a, float e) { a = ReduceSum<keepdims=0>(x) e = ReduceProd<keepdims=0>(x) }", {"n": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sizes"), NONE)
def test_sums_of_nothing_are_the_start_value(text: str, sizes: Mapping[str, int]) -> None:
    model = _model(text)
    feeds = _feeds(model, sizes)
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model).run(None, feeds)
    _check(model, feeds, expected)


def _model(text: str) -> onnx.ModelProto:
    graph = onnx.parser.parse_graph(f"g {text}")
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)


def _feeds(model: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    random, feeds = np.random.default_rng(5), {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else sizes[d.dim_param] for d in kind.shape.dim]
        feeds[value.name] = random.standard_normal(shape).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return feeds


def _check(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], expected: list[np.ndarray]) -> None:
    for level in (0, 2):
        found = dsc.compile(model, opt_level=level).run(feeds)
        for array, wanted in zip(found.values(), expected, strict=True):
            np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6, err_msg=f"-O{level}")
