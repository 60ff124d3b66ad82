"""What an artifact records of layers with zeros: by what they are computed, what else could, and what it gains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsc.cli.layers import Verdict, verdicts
from dsc.codegen import CompiledModel
from dsc.pipeline import compile_model
from dsc.runtime import inspect
from dsc.runtime.manifest import Manifest
from dsc.sparsity import Pattern, matrix_of, weight_of
from tests.compiled import TextModel

RNG = np.random.default_rng(8)


def pruned(shape: tuple[int, ...], axis: int, density: float, pattern: str = "4x1") -> np.ndarray:
    weight = RNG.standard_normal(shape).astype(np.float32)
    mask = Pattern.parse(pattern).keep(RNG.random(matrix_of(weight, axis).shape), density)
    return np.where(weight_of(mask, axis, shape), weight, np.float32(0))


PRODUCTS = TextModel(
    """(float[64,256] x) => (float[64,256] y) {
        [zeros] a = MatMul(x, w0)
        [some] b = MatMul(a, w1)
        [dense] c = MatMul(b, w2)
        [small] d = MatMul(c, w3)
        [last] y = MatMul(d, w4)
    }""",
    {
        "w0": pruned((256, 256), 1, 0.1), "w1": pruned((256, 256), 1, 0.8, "unstructured"),
        "w2": RNG.standard_normal((256, 256)).astype(np.float32), "w3": pruned((256, 3), 1, 0.2),
        "w4": RNG.standard_normal((3, 256)).astype(np.float32),
    },
)  # fmt: skip
IMAGES = """(float[1,32,h,w] x, float[1,32,20,20] z) => (float[1,32,h,w] y, float[1,32,20,20] g) {
    [free] y = Conv<pads=[1,1,1,1]>(x, w0)
    [groups] g = Conv<group=4, pads=[1,1,1,1]>(z, w1)
}"""


def by_name(manifest: Manifest) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in verdicts(manifest.layers, manifest.kernels)}


def test_layers_of_products(tmp_path: Path) -> None:
    model = PRODUCTS.compile().model
    model.write(tmp_path / "m.dsc")
    manifest = inspect(tmp_path / "m.dsc")
    found = by_name(manifest)
    assert list(found) == ["zeros", "some", "dense", "small", "last"]
    zeros, some, dense, small = (found[name] for name in ("zeros", "some", "dense", "small"))
    assert (zeros.eligible, zeros.skips_zeros, zeros.kernel, zeros.reason) == (True, True, "cpu.sparse_matmul", "")
    assert (zeros.pattern, zeros.shape, zeros.op) == ("4x1", (256, 256), "MatMul")
    assert zeros.zeros == pytest.approx(0.9, abs=0.01)
    assert zeros.kept == pytest.approx(0.1, abs=0.01)
    assert zeros.predicted is not None
    assert zeros.predicted > 2
    assert zeros.measured is None
    assert (some.eligible, some.skips_zeros, some.pattern) == (True, False, "unstructured")
    assert some.reason == "slower by estimate"
    assert some.predicted is not None
    assert some.predicted < 1
    assert (dense.eligible, dense.kernel, dense.pattern, dense.reason) == (False, "cpu.gemm", "", "no zeros")
    assert (small.eligible, small.reason) == (False, "fewer than 1024 weights")


def test_gains_are_of_the_estimates_that_chose() -> None:
    """The best estimate of each kernel is recorded, and the least is that of the one that was taken."""
    model = PRODUCTS.compile().model
    for choice in model.choices:
        able = [rival for rival in choice.rivals if rival.estimate is not None]
        assert min(able, key=lambda rival: rival.estimate or 0).kernel == choice.kernel
        assert able[0].estimate == choice.estimate
        refused = [rival for rival in choice.rivals if rival.estimate is None]
        assert {(rival.kernel, rival.refusal) for rival in refused} <= set(choice.refusals)
        assert all(rival.skips_zeros for rival in refused)
        assert {rival.kernel for rival in choice.rivals if rival.skips_zeros} == {
            "cpu.sparse_matmul", "cpu.conv2d.sparse",
        }  # fmt: skip


def test_the_arrays_of_each_weight_are_named() -> None:
    model = PRODUCTS.compile().model
    sizes = {weight.name: weight.size for weight in model.weights}
    for layer in model.manifest.layers:
        stored = sum(sizes[name] for name in layer["parameters"])
        dense = 4 * int(np.prod(layer["shape"]))
        share = 0.2 if layer["name"] == "zeros" else None
        assert stored >= dense if share is None else stored < share * dense


def test_why_convolutions_are_dense() -> None:
    weights = {"w0": pruned((32, 32, 3, 3), 0, 0.1), "w1": pruned((32, 8, 3, 3), 0, 0.1)}
    found = by_name(TextModel(IMAGES, weights).compile().model.manifest)
    assert [(each.name, each.eligible, each.skips_zeros) for each in found.values()] == [
        ("free", False, False), ("groups", False, False),
    ]  # fmt: skip
    assert found["free"].reason == "an image whose size is not known"
    assert found["groups"].reason == "channels in groups"


def test_other_passes_and_precisions() -> None:
    def compiled(**options: object) -> CompiledModel:
        return compile_model(PRODUCTS.proto(), **options).model  # type: ignore[arg-type]

    found = by_name(compiled(opt_level=1).manifest)
    assert found["zeros"].reason == "the pass sparsity did not run"
    assert found["zeros"].pattern == "4x1"
    half = by_name(compiled(precision="bf16", target="x86:znver4").manifest)
    assert not half["zeros"].skips_zeros
    assert half["zeros"].reason == "the weight is kept in bfloat16"


def test_models_without_zeros_have_no_layers() -> None:
    weights = {"w0": RNG.standard_normal((64, 64)).astype(np.float32)}
    few = weights["w0"] * (RNG.random((64, 64)) < 0.95)
    for w0 in (weights["w0"], few.astype(np.float32)):
        text = "(float[4,64] x) => (float[4,64] y) { y = MatMul(x, w0) }"
        assert TextModel(text, {"w0": w0}).compile().model.manifest.layers == ()


def test_measured_gains() -> None:
    """At -O3, where both were measured; what was chosen is what took the least time."""
    text = "(float[64,256] x) => (float[64,256] y) { [half] y = MatMul(x, w) }"
    model = TextModel(text, {"w": pruned((256, 256), 1, 0.4)})
    manifest = compile_model(model.proto(), opt_level=3, tuning_seconds=60).model.manifest
    half = by_name(manifest)["half"]
    assert half.measured is not None
    assert half.skips_zeros == (half.measured > 1)
    (kernel,) = manifest.kernels
    times = {rival["kernel"]: rival["measured"] for rival in kernel["rivals"] if rival["measured"] is not None}
    assert min(times, key=times.__getitem__) == kernel["kernel"]
