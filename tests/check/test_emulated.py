"""Models of half precision in float32, with roundings where they have them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

from dsc.check import Reference
from dsc.check.emulated import emulated
from dsc.check.interface import element_codes
from dsc.errors import UnsupportedModelError
from tests.compiled import TextModel

BF16, FP16 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16
HALVES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}
NET = """({0}[n,19] x) => ({0}[n,7] y, {0}[7] same, {0}[n,7] twice, float[n,7] wide) {{
    m = MatMul(x, w)  y = Relu(m)  same = Identity(b)  s = Add(y, b)  twice = Add(s, s)  wide = Cast<to=1>(s)
}}"""
"""An output that is read inside, one that is a constant, and a Cast."""


def net(half: str) -> TextModel:
    random = np.random.default_rng(3)
    weights = {
        name: random.standard_normal(shape).astype(HALVES[half]) for name, shape in {"w": (19, 7), "b": (7,)}.items()
    }
    return TextModel(NET.format(half), weights, 22)


def expected(half: str, x: np.ndarray, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In float64, each result rounded."""

    def rounded(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32).astype(HALVES[half])

    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    y = rounded(np.maximum(rounded(x.astype(np.float64) @ wide["w"]).astype(np.float64), 0))
    s = rounded(y.astype(np.float64) + wide["b"])
    return {"y": y, "same": weights["b"], "twice": rounded(2 * s.astype(np.float64)), "wide": s.astype(np.float32)}


@pytest.mark.parametrize("half", HALVES)
def test_each_result_is_rounded(half: str) -> None:
    model = net(half)
    x = np.random.default_rng(4).standard_normal((5, 19)).astype(HALVES[half])
    x[0, 0], x[1, 1], x[2, :] = np.nan, np.inf, ml_dtypes.finfo(HALVES[half]).smallest_subnormal
    changed = emulated(model.proto(), [BF16, FP16])
    inside = {name: code for name, code in element_codes(changed).items() if code in (BF16, FP16)}
    assert {name.partition("_")[0] for name in inside} == {"x", "y", "same", "m", "s", "twice"}
    found = Reference(changed, 1).run({"x": x})
    for name, array in expected(half, x, model.weights).items():
        assert found[name].dtype == array.dtype
        a, b = (each.astype(np.float32) for each in (found[name], array))
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite])
        # float32's sums are not float64's: a tie may go the other way, once or twice
        unit = np.spacing(np.abs(array[finite])).astype(np.float32)
        assert np.all(np.abs(a[finite] - b[finite]) <= 2 * unit)
        assert np.mean(a[finite] == b[finite]) > 0.95


def test_the_reference_takes_bfloat16() -> None:
    """Of which ONNX Runtime multiplies no matrices."""
    model = net("bfloat16")
    x = np.random.default_rng(5).standard_normal((3, 19)).astype(HALVES["bfloat16"])
    found = Reference(model.proto().SerializeToString(), 1).run({"x": x})
    same = Reference(emulated(model.proto(), [BF16]), 1).run({"x": x})
    assert all(np.array_equal(found[name], same[name]) for name in same)


def test_what_has_none_stays_what_it_is() -> None:
    plain = TextModel("(float[n,3] x) => (float[n,3] y) { y = Relu(x) }").proto()
    assert emulated(plain, [BF16, FP16]) is plain
    half = net("float16").proto()
    assert emulated(half, [BF16]) is half
    with pytest.raises(UnsupportedModelError, match="refuses the model"):
        Reference(b"no model at all")
    lacking = TextModel("(complex64[3] x, bfloat16[2] b) => (complex64[3] y, bfloat16[2] c) { y = Neg(x) c = Neg(b) }")
    with pytest.raises(UnsupportedModelError, match="refuses the model"):
        Reference(lacking.proto())
