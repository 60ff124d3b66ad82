"""Attention within a window: how far it is off, and what a module that has it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dsc.check import examine, verify_each
from dsc.check.approximation import Approximating, Approximation, Samples, approximates
from dsc.check.reference import Reference
from dsc.check.stages import Stages
from dsc.errors import UsageError
from dsc.exchange import export_model, import_model
from dsc.passes import Pipeline
from dsc.pipeline import Compilation, compile_model
from dsc.runtime import Module
from tests.compiled import TextModel
from tests.targets.windowed_attention import attention, band

LENGTH = 40
TEXT = """(float[1,s,16] x, float[1,1,s] mask) => (float[1,s,16] y) {
    xt = Transpose<perm=[0,2,1]>(x) [first] p = MatMul(x, xt) pm = Add(p, mask) w = Softmax<axis=-1>(pm)
    h = MatMul(w, x) ht = Transpose<perm=[0,2,1]>(h) q = MatMul(h, ht) [second] u = Softmax<axis=-1>(q)
    y = MatMul(u, h) }"""
TEXT = TEXT.replace("[first] ", "").replace("[second] ", "")
PASSES = "canonicalize,fuse,sparsify-attention{window=%d}"


def model(length: int | str = LENGTH) -> TextModel:
    return TextModel(TEXT.replace("s]", f"{length}]").replace(",s,", f",{length},"))


def samples(count: int = 2, length: int = LENGTH) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(4)
    kept = np.where(np.arange(length) < length - 5, 0, -1e4).astype(np.float32)
    return [{"x": random.standard_normal((1, length, 16), np.float32), "mask": kept[None, None]} for _ in range(count)]


def approximation(graph: Any, window: int, given: Samples | None = None) -> Approximation:
    watch = Approximating(graph)
    Pipeline.parse(PASSES % window).run(graph, [watch])
    return watch.measure(given)


def snr(expected: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


def test_own_and_accumulated_errors_are_those_of_exact_arithmetic() -> None:
    window, feeds = 6, samples(1)
    found = approximation(import_model(model().proto()), window, Samples("mine", feeds))
    (feed,) = feeds

    def layer(x: np.ndarray, mask: np.ndarray | float) -> np.ndarray:
        return attention(x, x.swapaxes(1, 2), x, np.asarray(mask, np.float64))

    far = np.where(band(LENGTH, window), 0, -np.inf)
    exact = [layer(feed["x"], feed["mask"])]
    exact.append(layer(exact[0], 0.0))
    near = [layer(feed["x"], feed["mask"] + far)]
    near.append(layer(near[0], far))
    first, second = found.attentions
    assert (first.window, second.window, found.inputs) == (6, 6, "mine")
    assert first.own is not None
    assert second.own is not None
    assert second.accumulated is not None
    assert first.own == first.accumulated
    assert first.own.snr == pytest.approx(snr(exact[0], near[0]), abs=0.05)
    assert second.own.snr == pytest.approx(snr(exact[1], layer(exact[0], far)), abs=0.05)
    assert second.accumulated.snr == pytest.approx(snr(exact[1], near[1]), abs=0.05)
    assert second.accumulated.max_abs == pytest.approx(np.abs(exact[1] - near[1]).max(), rel=1e-3)
    assert found.outputs == {"y": second.accumulated}
    assert second.own.snr != pytest.approx(second.accumulated.snr, abs=0.05)


def test_random_inputs_are_longer_than_the_window() -> None:
    """Where sizes are free; a window beyond a fixed length is refused, and nothing is measured."""
    free = approximation(import_model(model("s").proto()), 50)
    assert "x [1, 200, 16], mask [1, 1, 200]" in free.inputs
    assert all(each.own is not None and np.isfinite(each.own.snr) for each in free.attentions)
    fixed = approximation(import_model(model().proto()), 50)
    assert fixed == Approximation((), {"no key lies further than 50 from a query": 2})


def test_samples_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(UsageError, match="does not run on these inputs"):
        approximation(import_model(model().proto()), 6, Samples("mine", samples(1, LENGTH + 1)))
    with pytest.raises(UsageError, match="there is no sample in mine"):
        approximation(import_model(model().proto()), 6, Samples("mine", []))


def test_one_pass_that_approximates_is_enough() -> None:
    assert not approximates(Pipeline.parse("canonicalize,fuse"))
    assert approximates(Pipeline.parse(PASSES % 3))
    with pytest.raises(UsageError, match="sparsify-attention is 2 times among the passes"):
        approximates(Pipeline.parse(f"{PASSES % 3},sparsify-attention{{window=4}}"))


def test_requests_that_would_do_nothing_are_refused() -> None:
    proto = model().proto()
    with pytest.raises(UsageError, match="no attention of the model can have a window of 50: 2: no key lies further"):
        compile_model(proto, attention_window=50)
    with pytest.raises(UsageError, match="no attention of the model can have a window of 3: it has none"):
        compile_model(TextModel("(float[4] x) => (float[4] y) { y = Relu(x) }").proto(), attention_window=3)
    with pytest.raises(UsageError, match="no pass approximates"):
        compile_model(proto, samples=Samples("mine", samples()))
    with pytest.raises(UsageError, match="which -O2 and -O3 form; this is -O1"):
        compile_model(proto, attention_window=3, opt_level=1)
    with pytest.raises(UsageError, match=r"have sparsify-attention\{window=3\} after fuse"):
        compile_model(proto, attention_window=3, passes="canonicalize")
    for window in (0, True, 2.5, "3"):
        with pytest.raises(UsageError, match="an attention window is a number of positions, 1 or more"):
            compile_model(proto, attention_window=window)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def compilation() -> Compilation:
    return compile_model(model().proto(), attention_window=6, samples=Samples("mine", samples()))


def test_the_artifact_has_the_errors(compilation: Compilation) -> None:
    found: Mapping[str, Any] | None = compilation.model.manifest.approximation
    assert found is not None
    assert [each["window"] for each in found["attentions"]] == [6, 6]
    assert found["inputs"] == "mine"
    assert found["outputs"]["y"] == found["attentions"][1]["accumulated"]
    assert compile_model(model().proto()).model.manifest.approximation is None


def test_a_module_is_held_against_the_same_windows(compilation: Compilation) -> None:
    graph, module = import_model(model().proto()), compilation.model.load(1)
    verdict = examine(model().proto(), graph, module, samples())
    assert verdict.passed, verdict
    assert "attention is approximated on purpose" in str(verdict)


def test_a_module_of_another_window_is_wrong(compilation: Compilation) -> None:
    made = compilation.model
    passes = str(made.manifest.provenance["passes"]).replace("window=6", "window=5")
    other = replace(made, manifest=replace(made.manifest, provenance={**made.manifest.provenance, "passes": passes}))
    module: Module = other.load(1)
    verdict = examine(model().proto(), import_model(model().proto()), module, samples())
    assert not verdict.passed
    assert verdict.culprit is not None


def test_verify_each_goes_on_from_what_is_approximated() -> None:
    graph, (feed,) = import_model(model().proto()), samples(1)
    stages = Stages(graph.clone(), feed, dict(zip(["y"], model().reference(feed), strict=True)))
    Pipeline.parse(f"{PASSES % 4},layout").run(graph, [verify_each(stages)])
    assert stages.wrong(graph) is not None


KEPT = "canonicalize,fuse,sparsify-attention{keep=0.4}"


def test_errors_of_kept_keys_are_those_of_the_choice() -> None:
    """Two attentions of which the second has the first's error, too; what chooses is written into the exact model."""
    length, (feed,) = 160, samples(1, 160)
    watch = Approximating(import_model(model(length).proto()))
    Pipeline.parse(KEPT).run(import_model(model(length).proto()), [watch])
    found = watch.measure(Samples("mine", [feed]))
    first, second = found.attentions
    assert (first.window, first.keep, second.keep) == (None, 0.4, 0.4)
    assert first.own is not None
    assert second.own is not None
    assert second.accumulated is not None
    assert first.own == first.accumulated
    assert 0 < first.own.snr < 60
    assert second.own.snr != pytest.approx(second.accumulated.snr, abs=0.01)
    exact, near = (Reference(export_model(graph)).run(feed)["y"] for graph in (watch.imported, watch.approximated))
    assert second.accumulated.max_abs == pytest.approx(np.abs(exact - near).max(), rel=1e-3)
    assert found.outputs == {"y": second.accumulated}


def test_a_module_is_held_against_the_same_choice() -> None:
    made = compile_model(model(160).proto(), attention_keep=0.4, attention_window=100)
    found: Mapping[str, Any] | None = made.model.manifest.approximation
    assert found is not None
    assert [(each["window"], each["keep"]) for each in found["attentions"]] == [(100, 0.4)] * 2
    graph, module = import_model(model(160).proto()), made.model.load(1)
    verdict = examine(model(160).proto(), graph, module, samples(2, 160))
    assert verdict.passed, verdict
    graph = import_model(model(160).proto())
    (feed,) = samples(1, 160)
    stages = Stages(graph.clone(), feed, dict(zip(["y"], model(160).reference(feed), strict=True)))
    Pipeline.parse(f"{KEPT},layout").run(graph, [verify_each(stages)])


def test_shares_that_would_do_nothing_are_refused() -> None:
    proto = model().proto()
    with pytest.raises(UsageError, match=r"can keep 0\.3: 2: all of its 2 blocks of 32 keys would be kept"):
        compile_model(proto, attention_keep=0.3)
    with pytest.raises(UsageError, match="what attention keeps is of regions, which -O2 and -O3 form; this is -O1"):
        compile_model(proto, attention_keep=0.3, opt_level=1)
    with pytest.raises(UsageError, match=r"have sparsify-attention\{window=3 keep=0.3\} after fuse"):
        compile_model(proto, attention_window=3, attention_keep=0.3, passes="canonicalize")
    for share in (0, 1, True, "0.3"):
        with pytest.raises(UsageError, match="a share of the keys, more than 0 and less than 1"):
            compile_model(proto, attention_keep=share)  # type: ignore[arg-type]
