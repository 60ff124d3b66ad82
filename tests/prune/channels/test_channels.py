"""Pruning channels of whole models: what goes, what that brings, and what is said."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from dsc.errors import BudgetError, UnsupportedModelError, UsageError
from dsc.prune.policy import SparsityPolicy, SparsityRule
from dsc.prune.prune import prune
from tests.compiled import TextModel
from tests.prune.channels.nets import ENCODER, MIXED, RESIDUAL
from tests.prune.nets import NORM
from tests.prune.test_prune import ratio, run
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, samples, weight


def shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Of weights, by the node that reads them."""
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    return {n.name: dims[n.input[1]] for n in model.graph.node if len(n.input) > 1 and n.input[1] in dims}


def images(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng([seed, 3])
    return [{"x": random.standard_normal((4, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("method", ["magnitude", "wanda", "obs"])
@pytest.mark.parametrize("net", [DENSE, CONVS, NORM, RESIDUAL])
def test_a_smaller_model(net: object, method: str) -> None:
    model = net.proto()
    feeds = images(6) if net is RESIDUAL else samples(net)
    found = prune(model, None if method == "magnitude" else feeds, pattern="channels", method=method,
                  sparsity=0.3, multiple=2)  # fmt: skip
    onnx.checker.check_model(found.model)
    onnx.shape_inference.infer_shapes(found.model, check_type=True, strict_mode=True)
    assert np.isfinite(run(found.model, feeds[0])).all()
    assert run(found.model, feeds[0]).shape == run(model, feeds[0]).shape
    assert [node.op_type for node in found.model.graph.node] == [node.op_type for node in model.graph.node]
    before, after = shapes(model), shapes(found.model)
    assert found.report.sparsity == pytest.approx(0.3, abs=0.1)
    for layer in found.report.layers:
        assert list(layer.shape) == before[layer.name]
        assert layer.size - layer.zeros == np.prod(after[layer.name])
        assert bool(layer.reason) == (before[layer.name] == after[layer.name])


def test_data_makes_it_better() -> None:
    model, tests = RESIDUAL.proto(), images(10, seed=9)
    by = {
        method: ratio(
            prune(model, images(40) if method != "magnitude" else None, pattern="channels", sparsity=0.4,
                  method=method, multiple=1), model, tests)
        for method in ("magnitude", "wanda", "obs")
    }  # fmt: skip
    assert by["obs"] > by["wanda"] + 2
    assert by["obs"] > by["magnitude"] + 3


def test_means_of_outputs_are_those_of_float() -> None:
    model, data = RESIDUAL.proto(), images(40)
    found = prune(model, data, pattern="channels", sparsity=0.4, multiple=1).model
    wanted, got = (np.concatenate([run(each, feed) for feed in data]) for each in (model, found))
    np.testing.assert_allclose(got.mean(axis=0), wanted.mean(axis=0), atol=1e-4)


def test_heads_go_as_a_whole() -> None:
    random = np.random.default_rng(1)
    feeds = [{"x": random.standard_normal((2, 5, 24)).astype(np.float32)} for _ in range(12)]
    found = prune(ENCODER.proto(), feeds, pattern="channels", sparsity=0.4)
    after = shapes(found.model)
    heads = after["q"][1] // 4
    assert after["q"] == after["k"] == after["v"] == [24, 4 * heads]
    assert after["out"] == [4 * heads, 24]
    assert 1 <= heads < 6
    assert after["up"][1] == after["down"][0] in (8, 16, 24, 32)
    (queries,) = (layer for layer in found.report.layers if layer.name == "q")
    assert queries.notes == (f"now 24x{4 * heads}",)


def test_multiples() -> None:
    for multiple in (4, 8, 16):
        found = shapes(prune(RESIDUAL.proto(), pattern="channels", sparsity=0.5, multiple=multiple).model)
        assert found["stem"][0] % multiple == found["expand"][0] % multiple == 0
    assert shapes(prune(RESIDUAL.proto(), pattern="channels", sparsity=0.5).model)["expand"][0] in (8, 16, 24)


def test_policies() -> None:
    rules = SparsityRule(0.0, names=("stem",)), SparsityRule(0.5, names=("expand",))
    found = prune(RESIDUAL.proto(), pattern="channels", sparsity=0.5, multiple=1, policy=SparsityPolicy(rules))
    after = shapes(found.model)
    assert (after["stem"][0], after["expand"][0]) == (16, 16)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "how sparse[?]"),
        ({"sparsity": 0.5, "method": "admm"}, "no method 'admm'; there are magnitude, wanda, obs"),
        ({"sparsity": 0.5, "method": "obs"}, "needs calibration data"),
        ({"sparsity": 0.5, "method": "magnitude", "calibration": images(1)}, "takes no calibration data"),
        ({"sparsity": 0.5, "multiple": 0}, "expected 1 or more"),
        ({"sparsity": 0.5, "multiple": 8, "pattern": "4x1"}, "multiples are of channels"),
        ({"sparsity": 0.5, "calibration": [{"x": np.full((1, 3, 8, 8), np.inf, np.float32)}]}, "infinite or NaN"),
    ],
)
def test_what_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prune(RESIDUAL.proto(), **{"pattern": "channels", **options})


def test_more_than_may_go() -> None:
    said = r"leaves \d+ of \d+ weights, and \d+ are left when as many channels go as may: (\d+)[.]\d% is the most"
    with pytest.raises(BudgetError, match=said) as raised:
        prune(RESIDUAL.proto(), pattern="channels", sparsity=0.95)
    found = re.search(said, str(raised.value))
    assert found is not None
    most = int(found[1]) / 100
    assert prune(RESIDUAL.proto(), pattern="channels", sparsity=most).report.sparsity == pytest.approx(most, abs=0.02)


def test_a_weight_that_two_products_read_stays_one() -> None:
    """Read both ways round: what goes of its outputs goes of its inputs. Copies would make the model larger."""
    text = """(float[n,9] x) => (float[n,5] y) {
        [one] a = MatMul(x, w0)  [two] b = MatMul(a, w)  [three] c = Relu(b)  [four] d = Gemm<transB=1>(c, w)
        [five] y = MatMul(d, w1)
    }"""
    model = TextModel(text, {"w0": weight(9, 24), "w": weight(24, 24), "w1": weight(24, 5)}, 17)
    samples = [{"x": np.random.default_rng(n).standard_normal((8, 9)).astype(np.float32)} for n in range(4)]
    for method, data in (("magnitude", None), ("obs", samples)):
        found = prune(model.proto(), data, pattern="channels", sparsity=0.4, method=method)
        sizes = [tuple(tensor.dims) for tensor in found.model.graph.initializer if len(tensor.dims) == 2]
        assert [layer.name for layer in found.report.layers] == ["one", "two", "five"]
        assert len(sizes) == 3
        went = 1 - sum(rows * columns for rows, columns in sizes) / (9 * 24 + 24 * 24 + 24 * 5)
        assert found.report.sparsity == pytest.approx(went)
        assert went == pytest.approx(0.4, abs=0.1)
        assert np.isfinite(run(found.model, samples[0])).all()


def test_nothing_to_remove() -> None:
    with pytest.raises(UnsupportedModelError, match=r"no channels to remove .* x is an input of the model"):
        prune(PRODUCTS.proto(), pattern="channels", sparsity=0.5)


def test_what_stays_is_said() -> None:
    found = prune(MIXED.proto(), pattern="channels", sparsity=0.3)
    (first,) = (layer for layer in found.report.layers if layer.name == "one")
    assert first.reason == "x is an input of the model; total: what CumSum does to dims is not known"
    few = prune(RESIDUAL.proto(), images(1), pattern="channels", sparsity=0.3)
    by_name = {layer.name: layer for layer in few.report.layers}
    assert "4 rows of data for a depth of 16" in by_name["head"].notes


def test_as_small_as_the_accuracy_allows() -> None:
    model, tests = RESIDUAL.proto(), images(30, seed=4)
    truth = np.concatenate([run(model, feed).argmax(1) for feed in tests])

    def right(run_model: object) -> np.ndarray:
        return np.concatenate([run_model(feed)["y"].argmax(1) for feed in tests]) == truth

    found = prune(model, images(40), pattern="channels", evaluate=right, max_accuracy_drop=0.25, multiple=2)
    assert found.report.accuracy is not None
    assert found.report.accuracy.decided.drop <= 0.25
    assert found.report.sparsity >= 0.1
