"""Sums of one vector of products of bytes, by the generic kernel.

LLVM has one instruction for four products and their sum, which it knows by how halves of vectors are added.
"""

from __future__ import annotations

import numpy as np
import pytest

from dsc.pipeline import compile_model
from tests.compiled import TextModel


@pytest.mark.parametrize("channels", [4, 8, 16, 32])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_convolutions_of_few_pixels(channels: int, width: int) -> None:
    rng = np.random.default_rng(channels + width)
    v, w = (
        rng.integers(-128, 127, (*shape, 1, 1), np.int8, endpoint=True) for shape in ((16, channels), (channels, 16))
    )
    x = rng.integers(0, 255, (2, channels, 1, width), np.uint8, endpoint=True)
    text = f"""(uint8[2, {channels}, 1, {width}] x) => (uint8[2, 16, h, w] m, int32[2, {channels}, h, w] y) {{
        c = ConvInteger(x, v)  m = Cast<to = 2>(c)  y = ConvInteger(m, w)
    }}"""
    found = compile_model(TextModel(text, {"v": v, "w": w}).proto()).model.load(1).run({"x": x})
    first = np.einsum("nchw,oc->nohw", x.astype(np.int32), v[:, :, 0, 0].astype(np.int32)).astype(np.uint8)
    second = np.einsum("nchw,oc->nohw", first.astype(np.int32), w[:, :, 0, 0].astype(np.int32))
    np.testing.assert_array_equal(found["m"], first)
    np.testing.assert_array_equal(found["y"], second)
