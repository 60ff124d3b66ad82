"""Floats to the nearest integers by one instruction, and bytes that are dequantized before they are narrowed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dsc.codegen import CompiledModel
from dsc.pipeline import compile_model
from tests.compiled import TextModel

QUANTIZED = """(float[n] x, float s, uint8 z, int8 i, uint16 w) => (uint8[n] u, int8[n] v, uint16[n] q, uint8[n] m) {
    u = QuantizeLinear(x, s, z)  v = QuantizeLinear(x, s, i)  q = QuantizeLinear(x, s, w)  m = QuantizeLinear(x, s)
}"""
CAST = """(float[n] x) => (uint8[n] u, int16[n] v, int32[n] w) {
    r = Round(x)  u = Cast<to=2>(r)  v = Cast<to=5>(r)  w = Cast<to=6>(r)
}"""
AT_ONCE = """(uint8[m, 40] a) => (float[m, 24] y)
    <float quarter = {0.25}, float s = {0.5}, uint8 z = {120}, int8[40, 24] b> {
    p = MatMulInteger(a, b)  f = Cast<to=1>(p)  x = Mul(f, quarter)
    q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = Add(d, d)
}"""
TWICE = """(float[n] x) => (float[n] y)
    <float l = {-128}, float h = {127}, float s = {0.5}, int8 z = {-3}> {
    c = Clip(x, l, h)  r = Round(c)  b = Cast<to=3>(r)  y = DequantizeLinear(b, s, z)
}"""
OTHER_LIMITS = TWICE.replace("{-128}", "{-200}").replace("{127}", "{300}")
TARGETS = {"x86:x86-64-v2": "cvtps2dq", "x86:x86-64-v3": "vcvtps2dq", "x86:x86-64-v4": "vcvtps2dq"}


def values(size: int) -> np.ndarray:
    """Halves, what is next to them, zeros of both signs, what no type holds, and infinities."""
    halves = np.arange(-300, 300, dtype=np.float32) + np.float32(0.5)
    rng = np.random.default_rng(size)
    found = np.concatenate(
        [halves, np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(999)), halves - np.float32(0.5)]
    )
    extremes = [0.0, -0.0, 3e9, -3e9, 3e38, -3e38, 1e-45, np.inf, -np.inf]
    found = np.concatenate([found, np.array(extremes, np.float32), rng.uniform(-400, 400, 997).astype(np.float32)])
    return rng.permutation(found)[:size]


def expected(x: np.ndarray, scale: np.float32, zero: np.generic) -> np.ndarray:
    """ONNX's definition, in float64 where that changes nothing."""
    with np.errstate(over="ignore"):
        rounded = np.rint((x / scale).astype(np.float32)).astype(np.float64)
    ends = np.iinfo(zero.dtype)
    return np.clip(rounded + float(zero), ends.min, ends.max).astype(zero.dtype)


@pytest.mark.parametrize("size", [1, 5, 16, 67, 3406])
@pytest.mark.parametrize("zero", [(0, 0, 0), (255, -128, 65535), (7, 127, 1), (128, -1, 40000)])
def test_quantized(quantized: CompiledModel, size: int, zero: tuple[int, int, int]) -> None:
    x, module = values(size), quantized.load(1)
    zeros = np.uint8(zero[0]), np.int8(zero[1]), np.uint16(zero[2])
    for scale in map(np.float32, (1, 0.5, 0.3, 1e-3, 700)):
        feeds = dict(zip("xszi", (x, scale, *zeros[:2]), strict=True)) | {"w": zeros[2]}
        found = module.run({name: np.asarray(feed) for name, feed in feeds.items()})
        for name, each in zip("uvqm", (*zeros, np.uint8(0)), strict=True):
            np.testing.assert_array_equal(found[name], expected(x, scale, each), err_msg=f"{name} by {scale}")


@pytest.fixture(scope="module")
def quantized() -> CompiledModel:
    return compile_model(TextModel(QUANTIZED, {}).proto()).model


def test_rounded_and_cast() -> None:
    x = values(3406)
    x = x[np.abs(x) < 2**31]
    found = compile_model(TextModel(CAST, {}).proto()).model.load(1).run({"x": x})
    whole = np.rint(x).astype(np.int64)
    for name, dtype in {"u": np.uint8, "v": np.int16, "w": np.int32}.items():
        np.testing.assert_array_equal(found[name], whole.astype(dtype), err_msg=name)


@pytest.mark.parametrize("size", [1, 5, 67, 3406])
@pytest.mark.parametrize("text", [TWICE, OTHER_LIMITS], ids=["bytes", "no bytes"])
def test_dequantized_at_once(text: str, size: int) -> None:
    """What is cut to less than bytes is dequantized as it is; what is not is narrowed first, which changes it."""
    x = values(size)
    low, high = (-128, 127) if text is TWICE else (-200, 300)
    (found,) = compile_model(TextModel(text, {}).proto()).model.load(1).run({"x": x}).values()
    byte = np.rint(np.clip(x, low, high)).astype(np.int32).astype(np.int8)
    np.testing.assert_array_equal(found, (byte.astype(np.float32) + 3) * np.float32(0.5))


def product() -> TextModel:
    return TextModel(AT_ONCE, {"b": np.random.default_rng(1).integers(-3, 4, (40, 24)).astype(np.int8)})


@pytest.mark.parametrize("rows", [1, 3, 16, 33])
def test_in_the_region_of_a_product(rows: int) -> None:
    """Halves of a step and what is beyond all bytes are among the sums. (Odd zero points round them otherwise.)"""
    a = np.random.default_rng(rows).integers(0, 60, (rows, 40)).astype(np.uint8)
    (found,) = compile_model(product().proto()).model.load(1).run({"a": a}).values()
    steps = (a.astype(np.int64) @ product().weights["b"]) * 0.5
    assert (steps % 1 == 0.5).any()
    byte = np.clip(np.rint(steps) + 120, 0, 255)
    np.testing.assert_array_equal(found, (byte - 120).astype(np.float32))


@pytest.mark.parametrize("name", TARGETS)
def test_one_instruction(name: str, tmp_path: Path) -> None:
    """No rounding of floats to floats, and no byte is made."""
    compile_model(product().proto(), target=name, dump=tmp_path)
    (path,) = (tmp_path / "kernels").glob("*matmul*.s")
    code = path.read_text()
    assert f"\t{TARGETS[name]}\t" in code
    assert not re.search("round[ps]s|rndscale|vpmov[us]*[dw]b|pack[us]s", code)
