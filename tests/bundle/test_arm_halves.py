"""`--precision` as 64-bit Arm code, run under QEMU: with and without instructions that multiply bfloat16."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dsc.pipeline import compile_model
from dsc.targets import target
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.compiled import TextModel

RANDOM = np.random.default_rng(29)
HALVES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
TEXT = """(float[m,33] x, float[1,3,9,8] image) => (float[m,19] y, float[1,8,9,8] z) {
    p = MatMul(x, w)  s = Add(p, b)  y = Relu(s)  z = Conv<pads=[1,1,1,1]>(image, k)
}"""
WEIGHTS = {"w": (33, 19), "b": (19,), "k": (8, 3, 3, 3)}


@pytest.mark.parametrize(("tag", "precision"), [("armv8-a", "fp16"), ("armv8-a", "bf16"), ("neoverse-v1", "bf16")])
def test_weights_and_factors_are_rounded(tag: str, precision: str, tmp_path: Path) -> None:
    tool("aarch64-linux-gnu-g++")
    onto, half = target(f"arm:{tag}"), HALVES[precision]
    weights = {name: RANDOM.standard_normal(shape, np.float32) for name, shape in WEIGHTS.items()}
    given = {
        "x": RANDOM.standard_normal((7, 33), np.float32),
        "image": RANDOM.standard_normal((1, 3, 9, 8), np.float32),
    }
    multiplied = any(row.a == half.name for row in onto.machine.instructions)
    assert multiplied == (tag == "neoverse-v1" and precision == "bf16")

    compilation = compile_model(TextModel(TEXT, weights).proto(), target=onto, precision=precision)
    assert not any(choice.failures for choice in compilation.model.choices)
    compilation.model.write(tmp_path / "net.dsc")
    found = bundle(tmp_path / "net.dsc", tmp_path / "net", launcher(onto.backend())).run(given, tmp_path)

    # both factors where the machine multiplies the type, and else weights alone
    changed = {name: weights[name].astype(half).astype(np.float32) for name in ("w", "k")}
    data = {name: array.astype(half).astype(np.float32) for name, array in given.items()} if multiplied else given
    expected = TextModel(TEXT, weights | changed).reference(data)
    for array, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=2e-6 * np.abs(wanted).max())
