"""All that the kernels of two small models compute with is in registers."""

from __future__ import annotations

import numpy as np
import pytest

import dsc.models as zoo
from dsc.pipeline import compile_model
from tests.compiled import TextModel
from tests.resources.survey import launches

RANDOM = np.random.default_rng(0)
IMAGES = TextModel(
    """(float[2,5,19,21] x) => (float[2,20,1,1] y) {
        c = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w) r = Relu(c) d = Conv<group=20,pads=[1,1,1,1]>(r, v) s = Sigmoid(d)
        m = Mul(d, s) p = MaxPool<kernel_shape=[3,3],strides=[2,2]>(m) y = GlobalAveragePool(p) }""",
    {
        "w": RANDOM.standard_normal((20, 5, 3, 3)).astype(np.float32),
        "v": RANDOM.standard_normal((20, 1, 3, 3)).astype(np.float32),
    },
)


@pytest.mark.parametrize(
    ("name", "target"), [("fashion-mlp", "cuda:sm_80"), ("images", "cuda:sm_80"), ("images", "rocm:gfx942")]
)
def test_no_launch_spills(name: str, target: str) -> None:
    compilation = compile_model(IMAGES.proto() if name == "images" else zoo.fetch(name), target=target)
    found = launches(compilation.model)
    assert len(found) >= len(compilation.model.choices) > 2
    assert {launch.choice.function for launch in found} == {choice.function for choice in compilation.model.choices}
    assert [launch.used for launch in found if not launch.in_registers] == []
    assert all(launch.used.resident_blocks > 0 and 0 < launch.used.occupancy <= 1 for launch in found)
    if target.startswith("cuda"):
        assert all(launch.local_instructions == 0 for launch in found)
