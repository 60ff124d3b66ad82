"""The bias of a convolution is part of its epilogue, whatever it is."""

from __future__ import annotations

import pytest

from dsc.targets import target
from dsc.targets.cpu.conv.kernels import Direct
from tests.targets.weighted import Weighted, check

BODIES = {
    "a weight": ("float[6] b", "y = Conv(x, w, b)", ("w", "b")),
    "an input": ("float[6] b", "y = Conv(x, w, b)", ("w",)),
    "computed": ("float[6] s, float[6] t", "b = Mul(s, t) y = Conv(x, w, b)", ("w",)),
    "added": ("float[6,1,1] b", "c = Conv(x, w) y = Add(c, b)", ("w",)),
}


@pytest.mark.parametrize("name", BODIES)
def test_against_onnxruntime(name: str) -> None:
    parameters, body, weights = BODIES[name]
    text = f"(float[1,4,7,5] x, float[6,4,3,3] w, {parameters}) => (float[1,6,5,3] y) {{ {body} }}"
    check(Direct(), [Weighted(text, weights=weights, kind="conv")], target("x86").machine)


def test_of_one_constant_element() -> None:
    text = """(float[1,4,7,5] x, float[1,4,3,3] w) => (float[1,1,5,3] y)
    { b = Constant<value = float[1] {0.5}>() y = Conv(x, w, b) }"""
    check(Direct(), [Weighted(text, weights=("w",), kind="conv")], target("x86").machine)
