"""Whole models of float16 and bfloat16 on CPUs: the kernels of float32, and numbers that are rounded at the end."""

from __future__ import annotations

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import pytest

from dsc.pipeline import Compilation, compile_model
from tests.compiled import TextModel, kernels
from tests.halves import halved

HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}

NET = """(float[n,3,17,15] x) => (float[n,5] y, float[n,16,9,8] features) {
    a = Conv <strides=[2,2], pads=[1,1,1,1]> (x, stem, bias)  b = Relu(a)
    c = Conv <group=16, pads=[2,2,2,2]> (b, depthwise)  d = HardSwish(c)
    e = Conv(d, pointwise)  features = Add(e, b)
    f = GlobalAveragePool(features)  g = Flatten(f)  y = Gemm(g, head, last)
}"""
"""A stem, a block of depthwise and 1x1 convolutions with a residual, and a classifier; odd sizes."""


def net() -> TextModel:
    random = np.random.default_rng(11)
    shapes = {
        "stem": (16, 3, 3, 3), "bias": (16,), "depthwise": (16, 1, 5, 5), "pointwise": (16, 16, 1, 1),
        "head": (16, 5), "last": (5,),
    }  # fmt: skip
    return TextModel(NET, {n: (random.standard_normal(s) / 3).astype(np.float32) for n, s in shapes.items()})


@pytest.fixture(scope="module")
def compiled() -> dict[str, Compilation]:
    return {half: compile_model(halved(net().proto(), dtype)) for half, dtype in HALVES.items()}


def exact(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """What the net makes of weights in half precision, in float32: nothing is rounded but those."""
    wide = TextModel(NET, {w.name: onnx.numpy_helper.to_array(w).astype(np.float32) for w in model.graph.initializer})
    return wide.reference({"x": x.astype(np.float32)})


@pytest.mark.parametrize("half", HALVES)
def test_outputs_are_rounded_once(compiled: dict[str, Compilation], half: str) -> None:
    """As if the whole net were one operator: off by half a unit, which sums in another order may make a whole one."""
    x = np.random.default_rng(12).standard_normal((3, 3, 17, 15)).astype(HALVES[half])
    module = compiled[half].model.load(threads=1)
    for found, wanted in zip(module.run({"x": x}).values(), exact(halved(net().proto(), HALVES[half]), x), strict=True):
        assert (found.dtype, found.shape) == (HALVES[half], wanted.shape)
        rounded = wanted.astype(HALVES[half])
        unit = np.spacing(np.abs(rounded)).astype(np.float32)
        assert np.all(np.abs(found.astype(np.float32) - wanted) <= 0.51 * unit + 1e-6)
        assert np.mean(found == rounded) > 0.99


@pytest.mark.parametrize("half", HALVES)
def test_kernels_are_those_of_float32(compiled: dict[str, Compilation], half: str) -> None:
    """(`tests/passes/widen` compares whole networks.) The generic ones pool, and convert what goes in and comes out."""
    assert Counter(kernels(compiled[half])) == {
        "cpu.conv2d.direct": 2, "cpu.conv2d.depthwise": 1, "cpu.gemm": 1, "cpu.generic": 3, "cpu.transpose": 1,
    }  # fmt: skip


SPECIAL = """({0}[12] x, {0}[12] e) => (
    {0}[12] same, {0}[12] sum, bool[12] beyond, bool[12] more, {0}[12] below, float[12] wide, {0}[12] back,
    {0}[12] clipped
) {{
    same = Mul(x, one)  sum = Add(x, x)  beyond = IsInf(sum)  more = Greater(sum, e)  below = Floor(sum)
    wide = Cast<to=1>(x)  c = Mul(wide, tiny)  d = Cast<to={1}>(c)  back = Mul(d, one)
    clipped = Clip(sum, low, high)
}}"""


@pytest.mark.parametrize("half", HALVES)
def test_special_values(half: str) -> None:
    """NaN, infinities, subnormals, zeros of both signs, the largest number, whose sum with itself is infinite."""
    dtype = HALVES[half]
    info = ml_dtypes.finfo(dtype)
    top, least = float(info.max), float(info.smallest_subnormal)
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, least, -3 * least, top, -top, 1, 1.5, -2.25], dtype)
    e = np.zeros(12, dtype)
    weights = {"one": np.ones(12, dtype), "low": np.array(-4, dtype), "high": np.array(3, dtype)}
    text = SPECIAL.format(half, 10 if half == "float16" else 16)
    model = TextModel(text, {**weights, "tiny": np.float32(1.0001)})
    found = compile_model(model.proto()).model.load(threads=1).run({"x": x, "e": e})

    wide = x.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        total = (wide + wide).astype(dtype)
        rounded = (wide * np.float32(1.0001)).astype(dtype)
    expected = {
        "same": x, "sum": total, "beyond": np.isinf(total.astype(np.float32)), "more": total.astype(np.float32) > 0,
        "below": np.floor(total.astype(np.float32)).astype(dtype), "wide": wide, "back": rounded,
        "clipped": np.clip(total.astype(np.float32), -4, 3).astype(dtype),
    }  # fmt: skip
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name].astype(np.float32), array.astype(np.float32), err_msg=name)
        np.testing.assert_array_equal(
            np.signbit(found[name].astype(np.float32))[3:], np.signbit(array.astype(np.float32))[3:], err_msg=name
        )
