"""cpu.conv2d.winograd against ONNX Runtime, and its matrices against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.targets import Refusal
from dsc.targets.cpu.conv.kernels import Direct, Winograd
from dsc.targets.cpu.conv.winograd_transform import PackWinograd, transform
from tests.kernels import machine, with_lane_operands
from tests.targets.conv_regions import Case, check

TOLERANCE = 2e-5
"""F(4x4, 3x3) loses about three bits to direct convolution: 3e-6 was measured at 256 channels."""


def square(c: int, oc: int, h: int, w: int, block: int = 16, **options: object) -> Case:
    settings = {"pads": (1, 1, 1, 1), "out_block": block, **options}
    return Case((1, c, h, w), oc, block=block, **settings)  # type: ignore[arg-type]


CASES = [
    square(32, 32, 14, 14, activation="Relu"),
    square(64, 48, 7, 7, residual=True),
    square(16, 32, 9, 31, activation="Silu"),
    square(24, 40, 13, 15, block=8, activation="HardSwish"),
    square(12, 20, 6, 6, block=4),
    square(32, 32, 8, 8, pads=(0, 0, 0, 0)),
    square(32, 32, 8, 9, pads=(2, 0, 1, 2), gate=True),
    square(16, 16, 1, 3),
    square(16, 24, 20, 20, out_block=8, bias=False),
    square(256, 32, 5, 5),
    Case((3, 16, 10, 10), 16, pads=(1, 1, 1, 1), block=16, out_block=16, symbolic=(0,)),
]


def test_equals_onnxruntime() -> None:
    check(Winograd(), CASES, machine("x86"), TOLERANCE)


def test_avx2_code() -> None:
    check(Winograd(), CASES[:4], machine("x86:haswell"), TOLERANCE)


def test_lanes_as_operands() -> None:
    check(Winograd(), CASES, with_lane_operands(8), TOLERANCE)


@pytest.mark.parametrize("outputs", [2, 4])
def test_matrices_compute_a_correlation(outputs: int) -> None:
    matrices = transform(outputs)
    inverse, weight, data = (np.array(m, float) for m in (matrices.inverse, matrices.weight, matrices.data))
    random = np.random.default_rng(3)
    signal, kernel = random.standard_normal(outputs + 2), random.standard_normal(3)
    expected = np.correlate(signal, kernel, mode="valid")
    np.testing.assert_allclose(inverse @ ((weight @ kernel) * (data @ signal)), expected, rtol=1e-12)


def test_packed_weights_are_transformed_kernels() -> None:
    weights = np.random.default_rng(5).standard_normal((3, 4, 3, 3)).astype(np.float32)
    (packed,) = PackWinograd(outputs=2, panel=2, inner=4).apply(weights)
    g = np.array(transform(2).weight, float)
    assert packed.shape == (2, 16, 1, 4, 2)
    np.testing.assert_allclose(packed[1, :, 0, 3, 0], (g @ weights[2, 3] @ g.T).reshape(-1), rtol=1e-6)
    assert not packed[1, ..., 1].any()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strides": (2, 2)}, "only 3x3 kernels, neither strided nor dilated"),
        ({"groups": 2}, "grouped"),
        ({"symbolic": (3,)}, "the size of the image is symbolic"),
    ],
)
def test_refusals(options: dict[str, object], reason: str) -> None:
    assert Winograd().match(square(32, 32, 8, 8, **options).workload(), machine("x86")) == Refusal(reason)


def test_is_estimated_faster_than_direct_where_it_is() -> None:
    """One third of the time was measured at 64 channels of 56 x 56."""
    workload, host = square(64, 64, 56, 56).workload(), machine("x86:znver4")
    best = []
    for kernel in (Winograd(), Direct()):
        space = kernel.match(workload, host)
        assert not isinstance(space, Refusal)
        best.append(min(space.estimate(point) for point in space.points()))  # type: ignore[arg-type]
    assert best[0] < 0.5 * best[1]
