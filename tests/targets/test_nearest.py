"""Floats to the nearest integers by one instruction, and bytes that are dequantized before they are narrowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tvm_ffi

from dsc.codegen import CompiledModel
from dsc.ir import rounded_between
from dsc.pipeline import compile_model
from dsc.targets.cpu.generic.kernel import GenericKernel
from tests.compiled import TextModel
from tests.kernels import machine
from tests.passes.net import Net
from tests.targets.regions import Region, implement, library

QUANTIZED = """(float[n] x, float s, uint8 z, int8 i, uint16 w) => (uint8[n] u, int8[n] v, uint16[n] q, uint8[n] m) {
    u = QuantizeLinear(x, s, z)  v = QuantizeLinear(x, s, i)  q = QuantizeLinear(x, s, w)  m = QuantizeLinear(x, s)
}"""
AT_ONCE = """(uint8[m, 40] a) => (float[m, 24] y)
    <float quarter = {0.25}, float s = {0.5}, uint8 z = {120}, int8[40, 24] b> {
    p = MatMulInteger(a, b)  f = Cast<to=1>(p)  x = Mul(f, quarter)
    q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = Add(d, d)
}"""
CAST = """(float[{0}] x) => (uint8[{0}] u, int16[{0}] v, int32[{0}] w) {{
    r = Round(x)  u = Cast<to=2>(r)  v = Cast<to=5>(r)  w = Cast<to=6>(r)
}}"""
TWICE = """(float[{}] x, float s, int8 z) => (float[{}] y) <float low = {{{}}}, float high = {{{}}}> {{
    c = Clip(x, low, high)  r = Round(c)  b = Cast<to=3>(r)  y = DequantizeLinear(b, s, z)
}}"""
SIZES = [1, 5, 16, 67, 3406]
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


@pytest.mark.parametrize("size", SIZES)
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


def run(text: str, inputs: Sequence[np.ndarray], *dtypes: type[np.generic]) -> tuple[str, list[np.ndarray]]:
    """The code of the generic kernel for one region, before it is lowered, and its results."""
    cpu = machine()
    implementation = implement(GenericKernel(), Region(text), cpu)
    outputs = [np.zeros(inputs[0].shape, dtype) for dtype in dtypes]
    (function,) = library([implementation], cpu)
    function(*map(tvm_ffi.from_dlpack, (*inputs, *outputs)))
    return implementation.func.script(), outputs


@pytest.mark.parametrize("size", SIZES)
def test_rounded_and_cast(size: int) -> None:
    x = np.clip(values(size), np.float32(-(2**31)), np.float32(2**31 - 128))
    code, found = run(CAST.format(size), [x], np.uint8, np.int16, np.int32)
    assert "dsc.nearest" in code
    assert "nearbyint" not in code
    for each in found:
        np.testing.assert_array_equal(each, np.rint(x).astype(np.int64).astype(each.dtype), err_msg=str(each.dtype))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("low", "high", "at_once"), [(-128, 127, True), (-5, 9, True), (-200, 300, False), (-128, 128, False)]
)
def test_dequantized_at_once(low: int, high: int, at_once: bool, size: int) -> None:
    """What is cut to bytes is dequantized as it is; what is not is narrowed first, which changes it."""
    x, zero = values(size), np.int8(-3)
    code, (found,) = run(
        TWICE.format(size, size, low, high), [x, np.array(0.5, np.float32), np.asarray(zero)], np.float32
    )
    assert ('Cast("int8"' not in code) == at_once
    byte = np.rint(np.clip(x, low, high)).astype(np.int32).astype(np.int8)
    np.testing.assert_array_equal(found, (byte.astype(np.float32) + 3) * np.float32(0.5))


@pytest.mark.parametrize("limits", [(-np.inf, np.inf), (np.nan, 1), (0.5, 9), (None, 9)])
def test_limits_that_are_no_whole_numbers(limits: tuple[float | None, float]) -> None:
    net = Net(x=(4,))
    clipped = net.Clip(net.inputs()[0], *(None if each is None else np.float32(each) for each in limits))
    graph = net.done(net.Cast(net.Round(clipped), to=3))
    assert [rounded_between(op) for op in graph.ops()] == [None] * len(list(graph.ops()))


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
