"""`precision` of the compiler: numbers against ONNX Runtime in float32, what is recorded, and what is refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import dsc
from dsc.check import examine
from dsc.check.simulated import simulated
from dsc.errors import UsageError
from dsc.exchange import import_model
from dsc.ir import FusionOp
from dsc.lower.workload import Workload
from dsc.pipeline import Compilation, compile_model, preset
from dsc.precision import ERRORS, PRECISIONS
from dsc.targets import target
from tests.compiled import TextModel

LAYER = """(float[1,5,24] x, int64[1,5] m) => (float[1,5,24] y) {
    n = LayerNormalization <axis=-1> (x, s)
    q = MatMul(n, wq)  k = MatMul(n, wk)  v = MatMul(n, wv)
    qh = Reshape(q, heads)  kh = Reshape(k, heads)  vh = Reshape(v, heads)
    qt = Transpose <perm=[0,2,1,3]> (qh)  kt = Transpose <perm=[0,2,3,1]> (kh)  vt = Transpose <perm=[0,2,1,3]> (vh)
    a = MatMul(qt, kt)  f = Cast <to=1> (m)  g = Sub(one, f)  h = Mul(g, low)  i = Reshape(h, over)  b = Add(a, i)
    p = Softmax(b)  c = MatMul(p, vt)  ct = Transpose <perm=[0,2,1,3]> (c)  cr = Reshape(ct, joined)
    o = MatMul(cr, wo)  r = Add(o, x)  d = MatMul(r, wd)  e = Gelu(d)  u = MatMul(e, wu)  y = Add(u, r)
}"""
"""A layer of a transformer, its mask of the lowest float32."""


def layer() -> TextModel:
    random = np.random.default_rng(5)
    shapes = {"wq": (24, 24), "wk": (24, 24), "wv": (24, 24), "wo": (24, 24), "wd": (24, 40), "wu": (40, 24)}
    weights = {n: (random.standard_normal(shape) / 5).astype(np.float32) for n, shape in shapes.items()}
    weights |= {"s": np.ones(24, np.float32), "one": np.float32(1), "low": np.finfo(np.float32).min}
    sizes = {"heads": [0, 0, 3, 8], "over": [1, 1, 1, 5], "joined": [0, 0, 24]}
    return TextModel(LAYER, weights | {name: np.array(size) for name, size in sizes.items()})


def sample() -> dict[str, np.ndarray]:
    x = np.random.default_rng(6).standard_normal((1, 5, 24), np.float32)
    return {"x": x, "m": np.array([[1, 1, 1, 0, 1]])}


@pytest.fixture(scope="module")
def compiled() -> dict[str, Compilation]:
    return {precision: compile_model(layer().proto(), precision=precision) for precision in ("fp32", "fp16", "bf16")}


def check_near(module: dsc.Module, precision: str) -> None:
    (expected,), (found,) = layer().reference(sample()), module.run(sample()).values()
    assert found.dtype == np.float32
    # some ten roundings one after the other, of 2^-12 or 2^-9: less than a quarter of what a whole network may take
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    assert 1e-5 < error < ERRORS[PRECISIONS[precision] or ""] / 4


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_on_this_machine(compiled: dict[str, Compilation], precision: str) -> None:
    module = compiled[precision].model.load(1)
    check_near(module, precision)
    assert module.manifest.provenance["precision"] == precision


@pytest.mark.parametrize(("precision", "opt_level"), [("fp16", 0), ("bf16", 1)])
def test_without_regions(precision: str, opt_level: int) -> None:
    check_near(dsc.compile(layer().proto(), precision=precision, opt_level=opt_level, threads=1), precision)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
def test_on_a_simulated_gpu(precision: str) -> None:
    """By the tolerance of the precision, which the artifact says."""
    with simulated(target("cuda:sm_80")) as (onto, _):
        compilation = compile_model(layer().proto(), target=onto, precision=precision)
        verdict = examine(layer().proto(), import_model(layer().proto()), compilation.model.load(1), [sample()])
    assert verdict.passed, str(verdict)
    assert f"tolerance {ERRORS[PRECISIONS[precision] or '']:g} of the largest number" in str(verdict)
    kernels = {choice.kernel for choice in compilation.model.choices if choice.kind == "attention"}
    assert "gpu.generic" not in kernels, "one pass over the keys, whatever the context is stored in"


def test_weights_take_half_the_room_and_kernels_are_as_many(compiled: dict[str, Compilation]) -> None:
    held = {p: sum(w.size for w in compilation.model.weights) for p, compilation in compiled.items()}
    weights = sum(array.nbytes for name, array in layer().weights.items() if name.startswith("w"))
    for precision in ("fp16", "bf16"):  # in panels, of which the last ones are padded
        assert weights // 2 <= held[precision] - layer().weights["s"].nbytes < 0.55 * weights
    assert held["fp32"] > weights
    assert len({len(compilation.model.choices) for compilation in compiled.values()}) == 1


def test_workloads_that_may_round_their_factors_are_others() -> None:
    onto, keys = target("cuda:sm_80"), {}
    for precision in ("fp32", "tf32"):
        graph = import_model(layer().proto())
        preset(2, onto, precision).run(graph)
        found = [Workload.of(op) for op in graph.ops() if isinstance(op, FusionOp) and op.kind.data == "matmul"]
        assert {workload.multiplied_as for workload in found} == {PRECISIONS[precision]}
        keys[precision] = {workload.key() for workload in found}
    assert len(keys["fp32"]) == len(keys["tf32"])
    assert not keys["fp32"] & keys["tf32"]


def test_what_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match="no precision 'fp8': choose one of fp32, tf32, bf16, fp16"):
        dsc.compile(layer().proto(), precision="fp8")
    with pytest.raises(UsageError, match=r"end them with precision\{type=float16\}"):
        dsc.compile(layer().proto(), precision="fp16", passes="canonicalize,fuse")
    with pytest.raises(
        UsageError, match="cuda:sm_75 has no instruction that multiplies tf32; it has some for fp32, fp16"
    ):
        preset(2, target("cuda:sm_75"), "tf32")
    with caplog.at_level(logging.WARNING):
        preset(2, target("cuda:sm_80"), "bf16")
        assert not caplog.text
        preset(2, target("cuda:sm_75"), "bf16")
        assert "multiplied in float32" in caplog.text


def test_models_in_float16_compute_in_float32_and_round_once() -> None:
    """Squares of 300 are beyond float16; a double just above a tie of float16 is that tie in float32."""
    text = "(float16[1,2,4,4] x, double[1] d) => (float16[1,2,4,4] y, float16[1] z) {"
    model = TextModel(text + "y = LRN<size=3>(x) z = Cast<to=10>(d) }")
    x = np.random.default_rng(2).uniform(-300, 300, (1, 2, 4, 4)).astype(np.float16)
    y, z = dsc.compile(model.proto(), threads=1).run({"x": x, "d": np.array([1 + 2.0**-11 + 2.0**-40])}).values()
    wide = x.astype(np.float64)
    exact = wide / (1 + 1e-4 / 3 * (wide**2).sum(1, keepdims=True)) ** 0.75  # both channels are near to each
    np.testing.assert_allclose(y, exact, rtol=2.0**-10)  # one rounding, of 2^-11
    assert z[0] == np.float16(1 + 2.0**-10)
