"""Kernels of free sizes that took TVM or LLVM from half a minute to minutes to compile."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.compiled import TextModel, check

RANDOM = np.random.default_rng(3)


def rand(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


MODELS = {
    # rows of three free dims: nested quotients by products of sizes
    "joint": (
        TextModel(
            """(float[b,t,1,64] x, float[b,1,u,64] y) => (float[b,t,u,33] z)
            { s = Add(x, y) h = Tanh(s) p = MatMul(h, w) z = Add(p, bias) }""",
            {"w": rand(64, 33), "bias": rand(33)},
        ),
        [{"x": rand(2, 5, 1, 64), "y": rand(2, 1, 3, 64)}, {"x": rand(1, 3, 1, 64), "y": rand(1, 1, 9, 64)}],
    ),
    # a scratch buffer of free width with an access for each of 49 taps
    "depthwise": (
        TextModel(
            """(float[b,16,h,w] x) => (float[b,16,h,w] y)
            { c = Conv<group=16, pads=[3,3,3,3]>(x, k, bias) y = Add(c, x) }""",
            {"k": rand(16, 1, 7, 7), "bias": rand(16)},
        ),
        [{"x": rand(1, 16, 9, 21)}, {"x": rand(2, 16, 1, 3)}],
    ),
}
SECONDS = 8.0
"""Of this process' processors, a quarter of it on a quiet machine; it was 26 and 15."""


@pytest.mark.parametrize("name", MODELS)
def test_free_sizes_compile_in_seconds(name: str) -> None:
    model, feeds = MODELS[name]
    start = time.process_time()
    check(model, *feeds)
    assert time.process_time() - start < SECONDS
