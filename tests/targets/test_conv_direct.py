"""cpu.conv2d.direct against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.targets import Refusal
from dsc.targets.cpu.conv.direct import PackWeights
from dsc.targets.cpu.conv.kernels import Direct
from tests.kernels import machine, with_lane_operands
from tests.targets.conv_regions import Case, check

TOLERANCE = 1e-5
"""Both sides add up to a few thousand products in fp32, in different orders."""

PACKED = [
    Case((1, 64, 14, 14), 64, (1, 1), block=16, out_block=16, activation="Relu", residual=True),
    Case((2, 24, 13, 15), 40, (1, 1), block=8, out_block=8, activation="HardSwish"),
    Case((1, 20, 7, 5), 12, (1, 1), block=4, out_block=4, bias=False),
    Case((3, 32, 1, 1), 48, (1, 1), block=16, out_block=16, activation="Silu"),
    Case((1, 32, 14, 14), 64, (1, 1), (2, 2), block=16, out_block=16),
    Case((1, 32, 9, 11), 32, (1, 1), pads=(1, 0, 2, 1), block=16, out_block=16),
    Case((1, 32, 14, 14), 32, pads=(1, 1, 1, 1), block=16, out_block=16, residual=True, activation="Silu"),
    Case((2, 24, 13, 15), 40, pads=(1, 1, 1, 1), strides=(2, 2), block=8, out_block=4, activation="Relu"),
    Case((1, 16, 12, 9), 16, (5, 3), (1, 2), (2, 0, 1, 1), block=16, out_block=8, gate=True),
    Case((1, 16, 17, 17), 32, dilations=(2, 3), pads=(2, 3, 2, 3), block=16, out_block=16),
    Case((1, 8, 6, 6), 8, (3, 3), (3, 3), block=8, out_block=8),
    Case((1, 160, 3, 3), 96, pads=(1, 1, 1, 1), block=16, out_block=16),
    Case((1, 16, 1, 40), 32, (1, 5), pads=(0, 2, 0, 2), block=16, out_block=16),
]
PLAIN = [
    Case((1, 3, 31, 33), 32, (3, 3), (2, 2), (1, 1, 1, 1), out_block=16, activation="HardSwish"),
    Case((1, 3, 30, 30), 24, (7, 7), (2, 2), (3, 3, 3, 3), out_block=8),
    Case((1, 1, 12, 12), 16, (5, 5), out_block=16),
    Case((2, 30, 9, 9), 18, pads=(1, 0, 1, 1), activation="Relu"),
    Case((1, 32, 10, 10), 5, (1, 1), block=16),
    Case((1, 24, 8, 8), 1, block=8, pads=(1, 1, 1, 1)),
    Case((1, 7, 6, 6), 9, (2, 2), gate=True, residual=True),
]
GROUPED = [
    Case((2, 32, 9, 9), 64, pads=(1, 0, 1, 1), groups=4, block=16, out_block=16),
    Case((1, 48, 9, 9), 24, pads=(1, 1, 1, 1), groups=4, block=16, out_block=8, activation="Relu"),
    Case((1, 64, 8, 8), 64, (3, 3), (2, 2), (1, 1, 1, 1), groups=16, block=16, out_block=16),
    Case((1, 24, 7, 7), 24, (1, 1), groups=3, block=8, out_block=8),
    Case((1, 18, 7, 7), 12, groups=3),
    Case((1, 96, 5, 5), 8, pads=(1, 1, 1, 1), groups=4, block=16, out_block=4),
    Case((1, 48, 5, 5), 8, pads=(1, 1, 1, 1), groups=4, block=16),
]
SYMBOLIC = [
    Case((2, 32, 9, 9), 64, pads=(1, 1, 1, 1), block=16, out_block=16, symbolic=(0, 2, 3), residual=True),
    Case((2, 32, 40, 45), 32, (1, 1), block=16, out_block=16, symbolic=(0, 2, 3), residual=True),
    Case((1, 16, 3, 2), 16, pads=(1, 1, 1, 1), block=16, out_block=16, symbolic=(2, 3)),
    Case((1, 3, 20, 31), 16, (3, 3), (2, 2), (1, 1, 1, 1), out_block=16, symbolic=(3,)),
    Case((1, 16, 20, 31), 16, (3, 3), (2, 2), (0, 0, 1, 1), block=16, out_block=16, symbolic=(2, 3)),
    Case((5, 32, 1, 1), 32, (1, 1), block=16, out_block=16, symbolic=(0,)),
]


@pytest.mark.parametrize("cases", [PACKED, PLAIN, GROUPED, SYMBOLIC], ids=["packed", "plain", "grouped", "symbolic"])
def test_equals_onnxruntime(cases: list[Case]) -> None:
    check(Direct(), cases, machine("x86"), TOLERANCE)


def test_avx2_code() -> None:
    check(Direct(), PACKED[:6], machine("x86:haswell"), TOLERANCE)


def test_lanes_as_operands() -> None:
    """Whole vectors of channels, of some groups only, and none."""
    check(Direct(), [*PACKED, *PLAIN[:2], *GROUPED, *SYMBOLIC[:3]], with_lane_operands(4), TOLERANCE)


def test_refuses_depthwise() -> None:
    case = Case((1, 16, 8, 8), 16, groups=16, block=16, out_block=16)
    assert Direct().match(case.workload(), machine("x86")) == Refusal("depthwise")


def test_packed_weights_are_where_the_tile_reads_them() -> None:
    weights = np.arange(2 * 3 * 4 * 1 * 2, dtype=np.float32).reshape(6, 4, 1, 2)
    (packed,) = PackWeights(groups=2, panel=2, inner=4, k=1, dtype="float32").apply(weights)
    assert packed.shape == (2, 2, 1, 1, 2, 4, 2)
    assert packed[1, 0, 0, 0, 1, 3, 1] == weights[4, 3, 0, 1]
    assert not packed[:, 1, ..., 1].any(), (
        "the third channel of a group is the first of its second panel, the rest is zero"
    )
