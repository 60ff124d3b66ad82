"""cpu.conv2d.depthwise against ONNX Runtime."""

from __future__ import annotations

import pytest

from dsc.targets import Refusal
from dsc.targets.cpu.conv.kernels import Depthwise
from tests.kernels import machine
from tests.targets.conv_regions import Case, check

TOLERANCE = 2e-6
"""At most 49 products are added."""


def depthwise(c: int, h: int, w: int, block: int, **options: object) -> Case:
    settings = {"kernel": (3, 3), "pads": (1, 1, 1, 1), "out_block": block, **options}
    return Case((1, c, h, w), c, groups=c, block=block, **settings)  # type: ignore[arg-type]


STATIC = [
    depthwise(32, 14, 14, 16, activation="Relu"),
    depthwise(48, 9, 31, 16, strides=(2, 2), activation="HardSwish"),
    depthwise(32, 11, 29, 16, kernel=(5, 5), pads=(2, 2, 2, 2), residual=True),
    depthwise(32, 12, 12, 16, kernel=(5, 5), pads=(2, 1, 1, 2), strides=(2, 1)),
    depthwise(16, 20, 20, 16, dilations=(2, 3), pads=(2, 3, 2, 3)),
    depthwise(24, 7, 7, 8, activation="Silu"),
    depthwise(12, 5, 23, 4, gate=True),
    depthwise(16, 3, 2, 16),
    depthwise(16, 6, 1, 16, kernel=(3, 1), pads=(1, 0, 1, 0)),
    depthwise(16, 9, 9, 16, pads=(0, 0, 0, 0)),
    depthwise(16, 9, 10, 16, kernel=(2, 2), pads=(0, 0, 1, 1), bias=False),
    depthwise(32, 8, 8, 16, out_block=1),
    depthwise(16, 15, 15, 16, kernel=(7, 7), pads=(3, 3, 3, 3)),
    depthwise(32, 6, 7, 16, kernel=(1, 1), pads=(0, 0, 0, 0), residual=True),
    depthwise(16, 3, 4, 16, kernel=(2, 3), pads=(5, 0, 4, 9)),
]
SYMBOLIC = [
    depthwise(32, 14, 15, 16, symbolic=(0, 2, 3), residual=True),
    depthwise(16, 9, 3, 16, kernel=(5, 5), pads=(2, 2, 2, 2), symbolic=(3,)),
    depthwise(16, 20, 31, 16, strides=(2, 2), symbolic=(2, 3)),
    depthwise(16, 20, 31, 16, symbolic=(0, 2)),
    depthwise(16, 5, 9, 16, kernel=(1, 1), pads=(0, 0, 0, 0), symbolic=(2, 3)),
]


@pytest.mark.parametrize("cases", [STATIC, SYMBOLIC], ids=["static", "symbolic"])
def test_equals_onnxruntime(cases: list[Case]) -> None:
    check(Depthwise(), cases, machine("x86"), TOLERANCE)


def test_avx2_code() -> None:
    check(Depthwise(), STATIC[:5], machine("x86:haswell"), TOLERANCE)


def test_refuses_what_mixes_channels() -> None:
    case = Case((1, 16, 8, 8), 16, block=16, out_block=16)
    assert Depthwise().match(case.workload(), machine("x86")) == Refusal("channels are mixed")
