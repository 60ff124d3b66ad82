"""Products of activations in bytes by Arm's dot products, under QEMU: against the same in exact integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsc.pipeline import compile_model
from dsc.targets import target
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.compiled import TextModel
from tests.targets.in_steps import product

RANDOM = np.random.default_rng(29)
TEXT = """(float[n,100] x, float[37,96] z, float[1,64] v) => (float[n,41] a, float[37,50] b, float[1,24] c) {
    dx = DequantizeLinear <axis=1> (wx, sx)  a = MatMul(x, dx)
    dz = DequantizeLinear <axis=0, block_size=32> (wz, sz)  b = MatMul(z, dz)
    dv = DequantizeLinear <axis=1> (wv, sv)  c = MatMul(v, dv)
}"""
"""A scale for each column, groups, and one scale for each column of bytes that one row multiplies."""


def scales(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.01, 0.02, shape).astype(np.float32)


@pytest.mark.parametrize("element", ["int8", "int16"])
def test_numbers_under_emulation(element: str, tmp_path: Path) -> None:
    """A number of rows that only a run tells, ragged sizes, and an infinity."""
    tool("aarch64-linux-gnu-g++")
    shapes = {"wx": (100, 41), "wz": (96, 50), "wv": (64, 24)}
    weights = {name: RANDOM.integers(-128, 128, shape).astype(np.int8) for name, shape in shapes.items()}
    weights |= {"sx": scales(41), "sz": scales(3, 50), "sv": scales(24)}
    feeds = {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in
             {"x": (7, 100), "z": (37, 96), "v": (1, 64)}.items()}  # fmt: skip
    feeds["x"][3, 50] = np.inf
    onto = target("arm:neoverse-v1")
    compilation = compile_model(TextModel(TEXT, weights).proto(), target=onto, activations=element)
    assert {choice.kernel for choice in compilation.model.choices} == {"cpu.quantized_rows"}
    compilation.model.write(tmp_path / "rows.dsc")
    found = bundle(tmp_path / "rows.dsc", tmp_path / "rows", launcher(onto.backend())).run(feeds, tmp_path)
    assert np.isnan(found[0][3]).all()
    feeds["x"][3], found[0][3] = 0, 0
    for given, of_columns, result in zip("xzv", (True, False, True), found, strict=True):
        integers, by = weights[f"w{given}"].astype(np.float64), weights[f"s{given}"].astype(np.float64)
        weight = integers * (by if of_columns else by[np.arange(len(integers)) // 32])
        expected, bound = product(feeds[given], weight, 32, element)
        assert not (np.abs(result - expected) > bound).any()
