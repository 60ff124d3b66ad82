"""All that the kernels of small models compute with is in registers."""

from __future__ import annotations

import numpy as np
import pytest

import dsc.models as zoo
from dsc.pipeline import compile_model
from dsc.sparsity import Pattern, weight_of
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


def with_zeros(pattern: str, density: float, dtype: str) -> np.ndarray:
    """A weight of 512 inputs and 1024 outputs."""
    mask = Pattern.parse(pattern).keep(RANDOM.random((1024, 512)), density)
    return (RANDOM.standard_normal((512, 1024)) * weight_of(mask, 1, (512, 1024))).astype(dtype)


SPARSE = TextModel(
    """(float[2048,512] x, float16[2048,512] h) => (float[2048,1024] y, float16[2048,1024] z, float16[2048,1024] t) {
        p = MatMul(x, w) y = Relu(p) z = MatMul(h, v) t = MatMul(h, u) }""",
    {
        "w": with_zeros("4x1", 0.1, "float32"),
        "v": with_zeros("16x1", 0.1, "float16"),
        "u": with_zeros("2:4", 0.5, "float16"),
    },
)
MODELS = {"images": IMAGES, "sparse": SPARSE}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("fashion-mlp", "cuda:sm_80"),
        ("images", "cuda:sm_80"),
        ("images", "rocm:gfx942"),
        ("sparse", "cuda:sm_80"),
        ("sparse", "rocm:gfx942"),
    ],
)
def test_no_launch_spills(name: str, target: str) -> None:
    compilation = compile_model(MODELS[name].proto() if name in MODELS else zoo.fetch(name), target=target)
    found = launches(compilation.model)
    assert len(found) >= len(compilation.model.choices) > 2
    if name == "sparse":
        kernels = [choice.kernel for choice in compilation.model.choices]
        assert kernels.count("gpu.sparse_matmul") == 2
        assert ("gpu.structured_matmul" in kernels) == target.startswith("cuda")
    assert {launch.choice.function for launch in found} == {choice.function for choice in compilation.model.choices}
    assert [launch.used for launch in found if not launch.in_registers] == []
    assert all(launch.used.resident_blocks > 0 and 0 < launch.used.occupancy <= 1 for launch in found)
    if target.startswith("cuda"):
        assert all(launch.local_instructions == 0 for launch in found)
