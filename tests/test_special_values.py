# ruff: noqa: E501 - graphs are written on one line
"""NaN, infinities, zeros of both signs, denormal and extreme numbers through fused arithmetic and reductions.

The expected values are onnx.reference's, if nothing else is said. Single operators: tests/lower/test_special_values.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import dsc
from tests.lower.test_special_values import values

TYPES = {"float": np.float32, "double": np.float64, "float16": np.float16}

CHAINS = [
    "t1 = Add(x, magic) @ = Sub(t1, magic)", "t2 = Add(x, y) @ = Sub(t2, y)", "t3 = Less(x, y) @ = Not(t3)",
    "t4 = Mul(x, big) t5 = Mul(t4, big) @ = Mul(t5, small)", "t6 = Neg(x) @ = Neg(t6)", "t7 = Equal(x, y) @ = Where(t7, x, y)",
    "t8 = Less(x, y) @ = Where(t8, y, x)", "t9 = Mul(x, y) @ = Div(t9, y)", "ta = Div(x, y) @ = Mul(ta, y)",
    "tb = Sub(x, y) @ = Add(tb, y)", "tc = Abs(x) @ = Sub(tc, x)", "td = Max(x, y) te = Min(x, y) @ = Sub(td, te)",
    "tf = Relu(x) @ = Mul(tf, zero)", "tg = Sub(x, x) @ = Add(tg, one)", "th = Greater(x, y) ti = Less(x, y) @ = Or(th, ti)",
]  # fmt: skip
"""What a simplifier of real numbers would shorten."""

_CONSTANTS = {
    "zero": 0, "one": 1,
    "magic": {"float": 12582912.0, "double": 6755399441055744.0, "float16": 1536.0},
    "big": {"float": 1e30, "double": 1e200, "float16": 3e3}, "small": {"float": 1e-30, "double": 1e-200, "float16": 3e-4},
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_chains_that_hold_for_reals_only(name: str) -> None:
    """Fused into one kernel each, where nothing may be shortened. In float16, without fusion: CPUs else do not round
    between operators (`widen`), and the magic number is none of float32."""
    feeds = _feeds(TYPES[name])
    model = _model(CHAINS, name, feeds["x"].size)
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model).run(None, feeds)
    module = dsc.compile(model, opt_level=0 if name == "float16" else 2)
    for line, found, wanted in zip(CHAINS, module.run(feeds).values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted, err_msg=line)


def _feeds(dtype: type[np.floating]) -> dict[str, np.ndarray]:
    """Every number with every other."""
    numbers = values(dtype)
    n = len(numbers)
    return {
        "x": np.repeat(numbers, n),
        "y": np.tile(numbers, n),
    }


def _model(lines: Sequence[str], name: str, size: int) -> onnx.ModelProto:
    body = [f"o{i} = {line}" if "@" not in line else line.replace("@", f"o{i}") for i, line in enumerate(lines)]
    outputs = ", ".join(f"float[{size}] o{i}" for i in range(len(lines)))
    text = f"g ({name}[{size}] x, {name}[{size}] y) => ({outputs}) {{ {' '.join(body)} }}"
    graph = onnx.parser.parse_graph(text)
    dtype = TYPES[name]
    for constant, number in _CONSTANTS.items():
        number = number[name] if isinstance(number, dict) else number
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(number, dtype), constant))
    for output in graph.output:
        output.ClearField("type")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("name", TYPES)
def test_reductions(name: str) -> None:
    rows = _rows(TYPES[name])
    lines = [
        "ReduceMax(x, k)", "ReduceMin(x, k)", "ReduceSum(x, k)", "ReduceProd(x, k)", "ReduceMean(x, k)", "ReduceL1(x, k)", "ReduceL2(x, k)",
        "ReduceSumSquare(x, k)", "ReduceLogSum(x, k)", "Softmax(x)", "LogSoftmax(x)", "Hardmax(x)",
        "ArgMax<axis=1>(x)", "ArgMin<axis=1>(x)", "ArgMax<axis=1, select_last_index=1>(x)", "ArgMin<axis=1, select_last_index=1>(x)",
        "ReduceMax(x, first)", "ReduceMin(x, first)", "ReduceMax(x)", "ReduceMin(x)", "ArgMax<axis=0>(x)",
    ]  # fmt: skip
    outputs = ", ".join(f"float[1] o{i}" for i in range(len(lines)))
    body = " ".join(f"o{i} = {line}" for i, line in enumerate(lines))
    model = _parsed(
        f"({name}[{rows.shape[0]},{rows.shape[1]}] x) => ({outputs}) {{ k = Constant<value_ints=[1]>() first = Constant<value_ints=[0]>() {body} }}"
    )
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model).run(None, {"x": rows})
    for line, a, b in zip(lines, dsc.compile(model).run({"x": rows}).values(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=64 * np.finfo(TYPES[name]).eps, err_msg=line)


def _rows(dtype: type[np.floating]) -> np.ndarray:
    """Rows longer than a vector, with special numbers at the start, in the middle and at the end."""
    i, n = np.inf, np.nan
    random = np.random.default_rng(3)
    rows = random.uniform(0.5, 1.5, (16, 37))
    starts = [n, i, -i, 0, 1]
    for row, number in enumerate(starts):
        rows[row, row] = number
    rows[5, 36], rows[6, 17], rows[7, 20] = n, i, -i
    rows[8], rows[9], rows[10], rows[11] = -i, i, n, 0
    rows[12, ::5], rows[12, 1::5], rows[13, 7:9] = n, -i, (n, n)
    return rows.astype(dtype)


@pytest.mark.parametrize("name", TYPES)
def test_logarithms_of_sums(name: str) -> None:
    """Infinite where the definition is; onnx.reference gives NaN as it subtracts the maximum."""
    rows = _rows(TYPES[name])
    model = _parsed(
        f"({name}[16,37] x) => ({name}[16,1] y) {{ k = Constant<value_ints=[1]>() y = ReduceLogSumExp(x, k) }}"
    )
    with np.errstate(all="ignore"):
        expected = np.logaddexp.reduce(rows.astype(np.float64), axis=1, keepdims=True).astype(rows.dtype)
    found = dsc.compile(model).run({"x": rows})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-2 if name == "float16" else 1e-5)


POOLS = [
    ("[2,3,7,9]", "MaxPool<kernel_shape=[3,2], pads=[1,0,1,1]>(x)"),
    ("[2,16,7,9]", "MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)"),
    ("[2,3,19]", "MaxPool<kernel_shape=[4]>(x)"),
    ("[1,2,5,6,7]", "MaxPool<kernel_shape=[2,2,2]>(x)"),
    ("[2,3,7,9]", "GlobalMaxPool(x)"),
    ("[1,2,5,6,7]", "GlobalMaxPool(x)"),
]


@pytest.mark.parametrize("name", TYPES)
def test_pools(name: str) -> None:
    """NaN stays NaN, as in numpy's max. (onnx.reference and ONNX Runtime keep some and lose others.)"""
    random = np.random.default_rng(8)
    for shape, line in POOLS:
        model = _parsed(f"({name}{shape} x) => ({name} y) {{ y = {line} }}")
        x = random.choice(
            np.array([np.nan, -np.inf, 1, 2, np.inf], TYPES[name]), eval(shape), p=[0.02, 0.9, 0.02, 0.04, 0.02]
        )
        (found,) = dsc.compile(model).run({"x": x}).values()
        np.testing.assert_array_equal(found, _pooled(x, line), err_msg=line)


def _pooled(x: np.ndarray, line: str) -> np.ndarray:
    space = tuple(range(2, x.ndim))
    if line.startswith("Global"):
        return x.max(axis=space, keepdims=True)
    attributes = dict(part.split("=") for part in line[line.index("<") + 1 : line.index(">")].split(", "))
    kernel, strides, pads = (eval(attributes.get(a, "None")) for a in ("kernel_shape", "strides", "pads"))
    pads = pads or [0] * (2 * len(kernel))
    padded = np.pad(
        x, [(0, 0), (0, 0), *zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)], constant_values=-np.inf
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=space)
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides or [1] * len(kernel)))]
    return windows.max(axis=tuple(range(x.ndim, windows.ndim)))


def test_places_in_pools_of_infinities() -> None:
    """The place of -inf is in the window, not in the padding, which is -inf too."""
    model = _parsed(
        "(float[1,1,3,3] x) => (float y, int64 i) { y, i = MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(x) }"
    )
    x = np.full((1, 1, 3, 3), -np.inf, np.float32)
    x[0, 0, 2, 1] = np.nan
    places = dsc.compile(model).run({"x": x})["i"]
    np.testing.assert_array_equal(places[0, 0], [[0, 0, 1], [0, 0, 1], [3, 7, 7]])


@pytest.mark.parametrize("name", TYPES)
def test_sorting_is_a_permutation(name: str) -> None:
    rows = _rows(TYPES[name])
    model = _parsed(
        f"({name}[16,37] x) => ({name}[16,37] a, int64[16,37] b, {name}[16,5] c, int64[16,5] d) "
        "{ all = Constant<value_ints=[37]>() some = Constant<value_ints=[5]>() a, b = TopK(x, all) c, d = TopK<largest=0>(x, some) }"
    )
    expected = ReferenceEvaluator(model).run(None, {"x": rows})
    for array, wanted in zip(dsc.compile(model).run({"x": rows}).values(), expected, strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_extremes_of_integers_and_of_nothing() -> None:
    """The start value of a largest is the smallest there is."""
    for name, dtype in {
        "int8": np.int8,
        "uint8": np.uint8,
        "int32": np.int32,
        "int64": np.int64,
        "uint64": np.uint64,
    }.items():
        model = _parsed(
            f"({name}[2,n] x) => ({name}[2] a, {name}[2] b) {{ k = Constant<value_ints=[1]>() a = ReduceMax<keepdims=0>(x, k) b = ReduceMin<keepdims=0>(x, k) }}"
        )
        module = dsc.compile(model)
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        found = module.run({"x": np.array([[low] * 33, [high] * 33], dtype)})
        np.testing.assert_array_equal(found["a"], np.array([low, high], dtype))
        np.testing.assert_array_equal(found["b"], np.array([low, high], dtype))
    model = _parsed(
        "(float[2,n] x, bool[2,n] c) => (float[2] a, float[2] b, bool[2] d, bool[2] e) { k = Constant<value_ints=[1]>() a = ReduceMax<keepdims=0>(x, k) b = ReduceMin<keepdims=0>(x, k) d = ReduceMax<keepdims=0>(c, k) e = ReduceMin<keepdims=0>(c, k) }"
    )
    found = dsc.compile(model).run({"x": np.zeros((2, 0), np.float32), "c": np.zeros((2, 0), bool)})
    assert [v.tolist() for v in found.values()] == [[-np.inf] * 2, [np.inf] * 2, [False] * 2, [True] * 2]


def _parsed(text: str) -> onnx.ModelProto:
    graph = onnx.parser.parse_graph(f"g {text}")
    for output in graph.output:
        output.ClearField("type")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)
