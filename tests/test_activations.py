"""`activations` of the compiler: numbers against ONNX Runtime, what is recorded and verified, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import dsc
from dsc.check import examine
from dsc.errors import UsageError
from dsc.exchange import import_model
from dsc.pipeline import Compilation, compile_model, preset
from dsc.precision import ACTIVATIONS, ERRORS
from dsc.targets import target
from tests.compiled import TextModel

MACHINE = "x86:znver4"
ROUNDED = ACTIVATIONS[1:]
runs_here = pytest.mark.skipif(
    not any(row.b == "int8" and row.accumulator == "int32" for row in target("x86").machine.instructions),
    reason="this host has no instruction for bytes",
)
BLOCK = """(float[1,n,64] x) => (float[1,n,64] y) {
    n = LayerNormalization <axis=-1> (x, s)
    du = DequantizeLinear <axis=1> (wu, su)  u = MatMul(n, du)  ub = Add(u, bu)  g = Gelu(ub)
    dd = DequantizeLinear <axis=0, block_size=32> (wd, sd)  d = MatMul(g, dd)  y = Add(d, x)
}"""
"""The two layers of a transformer that are nothing but products, one with a scale for each column, one by groups."""


def block() -> TextModel:
    random = np.random.default_rng(5)
    weights = {name: random.integers(-128, 128, shape).astype(np.int8) for name, shape in
               {"wu": (64, 96), "wd": (96, 64)}.items()}  # fmt: skip
    scales = {name: random.uniform(0.5, 1, shape).astype(np.float32) / 500 for name, shape in
              {"su": (96,), "sd": (3, 64)}.items()}  # fmt: skip
    return TextModel(BLOCK, {**weights, **scales, "s": np.ones(64, np.float32), "bu": np.ones(96, np.float32)})


def sample(rows: int = 5) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(6).standard_normal((1, rows, 64), np.float32)}


@pytest.fixture(scope="module")
def compiled() -> dict[str, Compilation]:
    return {kind: compile_model(block().proto(), activations=kind) for kind in ACTIVATIONS}


@runs_here
def test_numbers(compiled: dict[str, Compilation]) -> None:
    """Two products one after the other: errors of 16 bits are some 256 times smaller than those of 8."""
    errors = {}
    for kind, compilation in compiled.items():
        module = compilation.model.load(1)
        assert module.manifest.provenance["activations"] == kind
        for rows in (1, 5, 40):
            (expected,), (found,) = block().reference(sample(rows)), module.run(sample(rows)).values()
            errors[kind, rows] = float(np.abs(found - expected).max() / np.abs(expected).max())
    for rows in (1, 5, 40):
        assert errors["fp32", rows] < 1e-6
        for kind in ROUNDED:
            assert errors[kind, rows] < ERRORS[kind] / 4
        assert 50 < errors["int8", rows] / errors["int16", rows] < 1000


@runs_here
def test_which_kernels(compiled: dict[str, Compilation]) -> None:
    for kind, compilation in compiled.items():
        kernels = {choice.kernel for choice in compilation.model.choices if choice.kind == "matmul"}
        assert kernels == {"cpu.weight_only" if kind == "fp32" else "cpu.quantized_rows"}


@runs_here
@pytest.mark.parametrize("kind", ROUNDED)
def test_verify_allows_what_the_artifact_was_made_to_round(compiled: dict[str, Compilation], kind: str) -> None:
    module = compiled[kind].model.load(1)
    proto = block().proto()
    verdict = examine(proto, import_model(proto), module, [sample()])
    assert verdict.passed, str(verdict)
    assert f"tolerance {ERRORS[kind]:g} of the largest number" in str(verdict)


@runs_here
def test_verify_finds_what_is_not_rounding(compiled: dict[str, Compilation]) -> None:
    other = block()
    other.weights["bu"][:] = 3
    verdict = examine(other.proto(), import_model(other.proto()), compiled["int8"].model.load(1), [sample()])
    assert not verdict.passed


@pytest.mark.parametrize(
    ("onto", "level", "said"),
    [
        ("x86:haswell", 2, "x86:haswell has no instruction that multiplies bytes by signed bytes: int8 needs one"),
        ("arm:armv8-a", 2, "arm:armv8-a has no instruction that multiplies bytes by signed bytes"),
        ("cuda:sm_80", 2, "activations int8 are for weights of few bits, which cuda:sm_80 makes floats of"),
        (MACHINE, 1, "activations int8 are for weights of few bits, which -O1 makes floats of"),
    ],
)
def test_targets_and_levels_that_do_not_multiply_so(onto: str, level: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        preset(level, target(onto), activations="int8")


def test_what_would_be_ignored_is_refused() -> None:
    floats = TextModel("(float[2,8] x) => (float[2,3] y) { y = MatMul(x, w) }", {"w": np.ones((8, 3), np.float32)})
    with pytest.raises(UsageError, match="activations int8 are for products by weights of few bits, and the model has"):
        compile_model(floats.proto(), target=MACHINE, activations="int8")
    with pytest.raises(UsageError, match=r"have quantize-rows\{type=int16\} after fuse"):
        compile_model(block().proto(), activations="int16", passes="canonicalize,fuse")
    with pytest.raises(UsageError, match="activations cannot be 'int4': choose one of fp32, int16, int8"):
        dsc.compile(block().proto(), activations="int4")


def test_presets_without_are_what_they_were() -> None:
    assert "quantize-rows" not in str(preset(2, target(MACHINE)))
    assert str(preset(2, target(MACHINE), activations="int16")).endswith(',quantize-rows{type="int16"}')
