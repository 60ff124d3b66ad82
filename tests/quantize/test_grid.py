from __future__ import annotations

import numpy as np
import pytest

from dsc.quantize.calibration import Range
from dsc.quantize.grid import ByteType, Grid, activation_grid, bias_steps, weight_grid, widened_for_bias
from tests.compiled import TextModel


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_bytes_are_those_of_onnx(dtype: ByteType) -> None:
    """Ties, which go to even, what is beyond the range, and zeros of both signs, included."""
    grid = activation_grid(Range(-1.5, 2.25), dtype, symmetric=False)
    ties = (np.arange(-140, 140) + 0.5).astype(np.float32) * grid.scale
    x = np.concatenate([ties, np.float32([0.0, -0.0, 1e9, -1e9]), np.random.default_rng(0).normal(0, 2, 500)])
    x = x.astype(np.float32)
    model = TextModel(
        f"(float[n] x) => ({dtype}[n] q, float[n] y) {{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}",
        {"s": grid.scale, "z": grid.zero_point},
    )
    q, y = model.reference({"x": x})
    np.testing.assert_array_equal(grid.quantized(x), q)
    np.testing.assert_array_equal(grid.dequantized(q), y)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("ends", [(-3.0, 1.0), (0.25, 0.75), (-9.0, -8.0), (0.0, 0.0), (7.0, 7.0), (0.0, 1e-44)])
def test_a_range_is_held_and_zero_is_exact(dtype: ByteType, symmetric: bool, ends: tuple[float, float]) -> None:
    """Constant, one-sided, and next to nothing."""
    grid = activation_grid(Range(*ends), dtype, symmetric)
    assert grid.scale > 0
    held = np.float32([0.0, *ends])
    found = grid.dequantized(grid.quantized(held))
    assert found[0] == 0
    assert np.abs(found - held).max() <= grid.scale * 0.501  # half a step, and the rounding of the scale
    if symmetric:
        assert grid.zero_point == (128 if dtype == "uint8" else 0)


@pytest.mark.parametrize(("bits", "most"), [(8, 127), (7, 63)])
def test_each_channel_of_a_weight_uses_all_its_bytes(bits: int, most: int) -> None:
    w = np.random.default_rng(3).normal(0, [[1e-3], [1.0], [50.0]], (3, 40)).astype(np.float32)
    w = np.concatenate([w, np.zeros((1, 40), np.float32)])
    grid = weight_grid(w, 0, bits)
    q = grid.quantized(w)
    np.testing.assert_array_equal(np.abs(q.astype(int)).max(1), [most, most, most, 0])
    error = np.abs(grid.dequantized(q) - w)
    assert (error <= grid.scale[:, None] * 0.501).all()
    assert grid.scale[3] == 1
    whole = weight_grid(w, None, bits)
    assert whole.scale.shape == ()
    assert np.abs(whole.quantized(w)).max() == most


def test_a_bias_has_room() -> None:
    """A channel of tiny weights and a bias of 1 would need more than 32 bits."""
    w = np.float32([[1e-12, -2e-12], [1.0, -0.5]])
    bias = np.float32([1.0, -0.25])
    grid = widened_for_bias(weight_grid(w, 0), bias, 1e-3)
    assert grid.scale[1] == weight_grid(w, 0).scale[1]
    steps, scale = bias_steps(bias, grid, 1e-3)
    np.testing.assert_allclose(steps * scale.astype(np.float64), bias, rtol=1e-6)
    assert Grid(grid.scale, grid.zero_point, 0).quantized(w).max() == 127
