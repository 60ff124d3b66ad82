"""Weights of a model as it came: where they are, and what their zeros follow."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.exchange import import_model
from dsc.passes.sparsity.patterns import best_pattern
from dsc.passes.sparsity.stored import stored_factors
from dsc.sparsity import Pattern, matrix_of, weight_of
from tests.compiled import TextModel

RNG = np.random.default_rng(5)


def pruned(shape: tuple[int, ...], axis: int, pattern: str, density: float) -> np.ndarray:
    weight = RNG.standard_normal(shape).astype(np.float32)
    mask = Pattern.parse(pattern).keep(RNG.random(matrix_of(weight, axis).shape), density)
    return np.where(weight_of(mask, axis, shape), weight, np.float32(0))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    "pattern", ["unstructured", "4x1", "1x4", "4x4", "16x1", "2x1", "2x8", "2:4", "1:4", "4x2:4", "4:8"]
)
def test_the_pattern_that_made_the_zeros_is_found(pattern: str, axis: int) -> None:
    known = Pattern.parse(pattern)
    density = 0.2 if known.limit is None else known.limit[0] / known.limit[1]
    found = best_pattern(pruned((96, 64), axis, pattern, density), axis)
    assert str(found.pattern) == pattern
    assert found.density == pytest.approx(density, abs=0.01)


def test_patterns_of_filters() -> None:
    """Taps of a channel lie side by side along the depth."""
    for pattern in ("4x1", "unstructured", "8x2"):
        assert str(best_pattern(pruned((32, 16, 3, 3), 0, pattern, 0.2), 0).pattern) == pattern


def test_zeros_anywhere_are_no_pattern_of_neighbours() -> None:
    """Of 90 % zeros at random most groups of four have two elements at most, and some have three."""
    assert str(best_pattern(pruned((256, 256), 1, "unstructured", 0.1), 1).pattern) == "unstructured"
    sparse = pruned((64, 64), 1, "1:4", 0.25) * (RNG.random((64, 64)) < 0.5)
    assert str(best_pattern(sparse, 1).pattern) == "unstructured"  # it holds 1:4, and says little of it
    assert str(best_pattern(np.zeros((8, 8), np.float32), 0).pattern) == "8x1"


def test_weights_behind_what_exporters_put_before_them() -> None:
    w = pruned((32, 48), 1, "4x1", 0.25)
    q = np.round(np.clip(w * 20, -127, 127)).astype(np.int8)
    text = """(float[n,32] x, uint8[n,32] b)
    => (float[n,48] y0, float[n,48] y1, float[n,48] y2, int32[n,48] y3, float[n,48] y4) {
        [plain] y0 = MatMul(x, w)
        t = Transpose<perm=[1,0]>(wt)
        [turned] y1 = MatMul(x, t)
        d = DequantizeLinear<axis=1>(q, scales, zeros)
        [dequantized] y2 = MatMul(x, d)
        [bytes] y3 = MatMulInteger(b, u, zero, middle)
        [gemm] y4 = Gemm<transB=1>(x, wt)
    }"""
    weights = {
        "w": w, "wt": np.ascontiguousarray(w.T), "q": q, "u": (q.astype(np.int16) + 128).astype(np.uint8),
        "scales": RNG.random(48).astype(np.float32) + 0.5, "zeros": np.zeros(48, np.int8),
        "zero": np.uint8(3), "middle": np.uint8(128),
    }  # fmt: skip
    found = {factor.op.node: factor for factor in stored_factors(import_model(TextModel(text, weights).proto()))}
    assert list(found) == ["plain", "turned", "dequantized", "bytes", "gemm"]
    for name, expected in (("plain", w), ("turned", w), ("dequantized", q), ("bytes", q), ("gemm", w.T)):
        np.testing.assert_array_equal(found[name].data, expected)
        assert found[name].axis == (0 if name == "gemm" else 1)


def test_weights_that_are_computed_or_have_several_zero_points_are_left_out() -> None:
    text = """(float[n,32] x, float[32,8] v) => (float[n,8] y0, float[n,8] y1, float[n,2,8] y2) {
        y0 = MatMul(x, v)
        d = DequantizeLinear<axis=1>(q, scales, zeros)
        y1 = MatMul(x, d)
        z = Reshape(x, shape)
        y2 = MatMul(z, stacked)
    }"""
    weights = {
        "q": RNG.integers(-9, 9, (32, 8)).astype(np.int8), "scales": np.ones(8, np.float32),
        "zeros": np.arange(8).astype(np.int8), "shape": np.array([-1, 2, 16]),
        "stacked": RNG.standard_normal((1, 16, 8)).astype(np.float32),
    }  # fmt: skip
    assert list(stored_factors(import_model(TextModel(text, weights).proto()))) == []
