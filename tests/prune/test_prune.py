"""Pruning whole models: zeros as asked, outputs near, what stays as it is, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest

import dsc
from dsc.check.deviation import decibels
from dsc.errors import BudgetError, UnsupportedModelError, UsageError
from dsc.prune.methods import METHODS
from dsc.prune.policy import SparsityPolicy, SparsityRule, read_policy
from dsc.prune.prune import prune
from dsc.prune.pruned import Pruned
from dsc.prune.save import save_proto
from dsc.sparsity import Pattern, matrix_of, sparsity
from tests.compiled import TextModel
from tests.prune.nets import NORM, SHARED, rows
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, samples, weight


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def ratio(found: Pruned, model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> float:
    """The signal-to-noise ratio of outputs in ONNX Runtime."""
    wanted, got = (np.concatenate([run(each, feed).reshape(-1) for feed in feeds]) for each in (model, found.model))
    return decibels(float(np.sum(wanted**2)), float(np.sum((wanted - got) ** 2)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "2:4"])
@pytest.mark.parametrize("net", [DENSE, PRODUCTS, CONVS, NORM])
def test_zeros_where_they_are_asked_for(net: object, pattern: str, method: str) -> None:
    model, known = net.proto(), Pattern.parse(pattern)
    data = samples(net) if METHODS[method].uses_data else None
    found = prune(model, data, pattern=pattern, method=method, sparsity=None if known.limit else 0.5)
    onnx.checker.check_model(found.model)
    assert [o.version for o in found.model.opset_import] == [o.version for o in model.opset_import]
    assert [node.op_type for node in found.model.graph.node] == [node.op_type for node in model.graph.node]
    assert np.isfinite(run(found.model, samples(net)[0])).all()
    tensors, nodes = arrays(found.model), {node.name: node for node in found.model.graph.node}
    for layer in found.report.layers:
        if not layer.size:
            assert layer.reason
            continue
        node = nodes[layer.name]
        array = tensors[node.input[1]]
        assert layer.zeros == np.sum(array == 0)
        axis = 0 if node.op_type == "Conv" or any(a.name == "transB" for a in node.attribute) else 1
        assert known.holds(matrix_of(array, axis)) or layer.reason
    if not known.limit:
        assert found.report.sparsity == pytest.approx(0.5, abs=0.06)  # blocks of small weights
        if pattern == "unstructured" and method != "wanda":  # which rounds for each output
            assert found.report.sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "obs", "admm"])
@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "2:4"])
def test_what_is_sparse_already_stays(pattern: str, method: str) -> None:
    """Zeros of the pattern, as many as are asked for or more: others in their place would make the model denser."""
    known, given = Pattern.parse(pattern), {"w": weight(24, 40), "v": weight(40, 8)}
    given["w"] *= known.keep(np.abs(given["w"].T), 0.2).T
    text = """(float[n,24] x) => (float[n,8] y) { [one] a = MatMul(x, w) [two] y = MatMul(a, v) }"""
    data = None if method == "magnitude" else rows(8)
    share = None if known.limit else 0.5
    found = prune(TextModel(text, given, 17).proto(), data, pattern=pattern, sparsity=share, method=method)
    one, two = found.report.layers
    assert (one.reason, one.sparsity) == ("it has as many zeros already", sparsity(given["w"]))
    np.testing.assert_array_equal(arrays(found.model)["w"], given["w"])
    assert two.reason == "too sensitive for what is asked" or two.sparsity == pytest.approx(0.5, abs=0.05)


def test_data_makes_it_better() -> None:
    model, tests = SHARED.proto(), rows(20, seed=9)
    by = {
        method: ratio(prune(model, rows(60) if known.uses_data else None, sparsity=0.5, method=method), model, tests)
        for method, known in METHODS.items()
    }
    assert by["admm"] > by["obs"] > by["wanda"] > by["magnitude"]
    assert by["admm"] > by["magnitude"] + 6


def test_a_weight_that_two_products_read_stays_one() -> None:
    found = prune(SHARED.proto(), rows(30), sparsity=0.5)
    assert [layer.name for layer in found.report.layers] == ["first", "out"]
    first, again = (node for node in found.model.graph.node if node.op_type == "MatMul")
    assert first.input[1] == again.input[1] == "w"
    assert np.mean(arrays(found.model)["w"] == 0) > 0.3


def test_means_of_outputs_are_those_of_float() -> None:
    """With a bias that is there, one behind an Add, and one that is made; and the batch norm stays."""
    model, data = NORM.proto(), samples(NORM, 30)
    found = prune(model, data, sparsity=0.6)
    wanted, got = (
        np.concatenate([run(each, feed) for feed in data]).mean(axis=(0, 2, 3)) for each in (model, found.model)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    assert "norm" in {node.name for node in found.model.graph.node}
    by_name = {layer.name: layer for layer in found.report.layers}
    assert by_name["deep"].zeros == 0
    assert by_name["deep"].reason == "it is depthwise: few weights, all needed"
    dense = prune(SHARED.proto(), rows(30), sparsity=0.0)
    assert ratio(dense, SHARED.proto(), rows(5, seed=4)) > 60


def test_operators_that_stay_as_they_are_are_said() -> None:
    text = """(float[t,1,6] x) => (float[t,4] y) {
        [cell] h = LSTM<hidden_size=5>(x, w, r)  [flat] f = Squeeze(h, axes)
        [mixed] e = Einsum<equation="ti,ij->tj">(f, u)  [out] y = MatMul(e, v)
    }"""
    given = {
        "w": weight(1, 20, 6),
        "r": weight(1, 20, 5),
        "axes": np.array([1, 2]),
        "u": weight(5, 8),
        "v": weight(8, 4),
    }
    found = prune(TextModel(text, given, 17).proto(), sparsity=0.5)
    said = {layer.name: (layer.op, layer.shape, layer.size, layer.reason) for layer in found.report.layers}
    assert said["cell"] == ("LSTM", (1, 20, 6), 0, "dsc prunes no LSTM")
    assert said["mixed"] == ("Einsum", (5, 8), 0, "dsc prunes no Einsum")
    assert said["out"] == ("MatMul", (8, 4), 32, "")
    assert found.report.sparsity == 0.5


def test_groups_that_blocks_would_cut() -> None:
    found = prune(NORM.proto(), pattern="3x1", sparsity=0.4)
    by_name = {layer.name: layer for layer in found.report.layers}
    assert by_name["grouped"].reason == "its groups have 4 outputs, which 3x1 cuts"
    assert by_name["last"].notes == ("padded: 10 outputs in blocks of 3",)


def test_policies(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[[rule]]\nsparsity = 0\nnames = ["firs*"]\n[[rule]]\nsparsity = 0.9\nops = ["Gemm"]\n')
    rules = read_policy(file).rules
    assert rules == (SparsityRule(0.0, names=("firs*",)), SparsityRule(0.9, ops=("Gemm",)))
    with pytest.raises(UnsupportedModelError, match="nothing to prune"):
        prune(DENSE.proto(), sparsity=0.5, policy=SparsityPolicy((SparsityRule(0.0, ops=("Gemm",)),)))
    for some, wanted in ((rules[:1], 0.5), (rules, 0.9)):  # what no rule is about has the sparsity asked for
        first, second = prune(DENSE.proto(), sparsity=0.5, policy=SparsityPolicy(some)).report.layers
        assert (first.zeros, first.reason) == (0, "the policy keeps firs* dense")
        assert second.sparsity == pytest.approx(wanted, abs=0.01)


def right(run_model: object) -> np.ndarray:
    """For each of 200 samples, whether the class is that of the float model."""
    data = [feed["x"] for feed in rows(25, seed=3)]
    truth = np.concatenate([run(SHARED.proto(), {"x": x}).argmax(1) for x in data])
    return np.concatenate([run_model({"x": x})["y"].argmax(1) for x in data]) == truth


@pytest.mark.parametrize(("pattern", "drop"), [("unstructured", 0.1), ("2:4", 0.5)])
def test_as_sparse_as_the_accuracy_allows(pattern: str, drop: float) -> None:
    found = prune(SHARED.proto(), rows(40), pattern=pattern, evaluate=right, max_accuracy_drop=drop)
    accuracy = found.report.accuracy
    assert accuracy is not None
    assert accuracy.held_out is not None
    assert accuracy.decided.drop <= drop
    assert accuracy.decided.samples == accuracy.held_out.samples == 100
    assert found.report.sparsity >= 0.1
    assert accuracy.evaluations >= 2
    strict = prune(SHARED.proto(), rows(40), evaluate=lambda r: float(right(r).mean()), max_accuracy_drop=0.5)
    assert strict.report.accuracy is not None
    assert strict.report.accuracy.held_out is None


def test_more_zeros_than_layers_that_may_have_them() -> None:
    """The depthwise convolution stays dense; with a policy for it the others are as sparse as that."""
    with pytest.raises(BudgetError, match=r"72 are of depthwise convolutions, .*: 90.1% is the most"):
        prune(NORM.proto(), sparsity=0.95)
    named = SparsityPolicy((SparsityRule(0.5, names=("deep",)),))
    assert prune(NORM.proto(), sparsity=0.95, policy=named).report.sparsity > 0.9


def test_a_budget_that_cannot_be_kept() -> None:
    calls = []

    def never(run_model: object) -> float:
        calls.append(1)
        return 1.0 if len(calls) == 1 else 0.25

    with pytest.raises(BudgetError, match=r"with a sparsity of \d+% it is 0.7500, and that is the best of"):
        prune(SHARED.proto(), evaluate=never, max_accuracy_drop=0.1)
    with pytest.raises(BudgetError, match=r"at a sparsity of 99% it is .* keeps to it"):
        prune(SHARED.proto(), rows(30), sparsity=0.99, evaluate=right, max_accuracy_drop=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sparsity": 0.5, "evaluate": lambda run_model: 1 / 0}, "the evaluation failed: ZeroDivisionError"),
        ({}, "how sparse[?]"),
        ({"sparsity": 1.0}, "expected 0 or more, and less than 1"),
        ({"sparsity": -0.1}, "expected 0 or more, and less than 1"),
        ({"sparsity": float("nan")}, "expected 0 or more, and less than 1"),
        ({"sparsity": 0.5, "pattern": "2:4"}, "2:4 has a sparsity of its own"),
        ({"sparsity": 0.5, "pattern": "4y1"}, "no sparsity pattern '4y1'"),
        ({"sparsity": 0.5, "method": "obd"}, "no method 'obd'"),
        ({"sparsity": 0.5, "method": "obs"}, "needs calibration data"),
        ({"sparsity": 0.5, "method": "magnitude", "calibration": rows(1)}, "takes no calibration data"),
        ({"sparsity": 0.5, "calibration": []}, "no samples"),
        ({"sparsity": 0.5, "calibration": [{"z": np.zeros(3)}]}, "calibration sample 1"),
        ({"sparsity": 0.5, "calibration": [{"x": np.full((1, 24), np.nan, np.float32)}]}, "infinite or NaN"),
        ({"max_accuracy_drop": 0.1}, "nothing says what the accuracy is"),
        ({"max_accuracy_drop": -1, "evaluate": right}, "expected 0 or more"),
        ({"sparsity": 0.5, "evaluate": lambda run_model: np.nan}, "no finite numbers"),
        ({"sparsity": 0.5, "evaluate": lambda run_model: run_model({})}, "Required inputs"),
        ({"sparsity": 0.5, "policy": SparsityPolicy((SparsityRule(0.5, names=("frist",)),))}, "near are first"),
    ],
)
def test_what_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){said}"):
        prune(SHARED.proto(), **options)


def test_too_few_samples_are_said() -> None:
    found = prune(DENSE.proto(), samples(DENSE, 2), sparsity=0.5)
    assert found.report.layers[0].notes == ("6 rows of data for a depth of 19",)
    assert (found.report.samples, found.report.needed_samples) == (2, 8)  # of 3 rows each, for a depth of 23
    assert prune(DENSE.proto(), samples(DENSE, 8), sparsity=0.5).report.needed_samples is None
    assert prune(DENSE.proto(), samples(DENSE, 2), sparsity=0.5, method="wanda").report.needed_samples is None
    few = prune(DENSE.proto(), samples(DENSE, 2), pattern="channels", sparsity=0.3)
    assert few.report.needed_samples == 8
    assert few.report.to_json()["needed_samples"] == 8


def test_what_a_batch_norm_gives_is_nearest_to_float() -> None:
    """Of each channel, on the calibration data: weights before it were changed, and its own statistics for that."""
    model, data = NORM.proto(), samples(NORM, 30)
    found = prune(model, data, sparsity=0.6).model
    normed = []
    for each in (model, found):
        each.graph.output.insert(0, onnx.ValueInfoProto(name="b"))
        normed.append(np.concatenate([run(each, feed) for feed in data]).swapaxes(0, 1).reshape(8, -1))
    wanted, got = normed
    assert np.abs(got - wanted).max() > 0.1
    for x, y in zip(wanted, got, strict=True):  # no line through what is found is nearer
        np.testing.assert_allclose(np.polyfit(y, x, 1), (1, 0), atol=1e-3)


def test_what_is_written_is_the_model(tmp_path: Path) -> None:
    """Inside the file, and beside it."""
    found = dsc.prune(SHARED.proto(), sparsity=0.5)
    found.save(tmp_path / "in.onnx")
    save_proto(found.model, tmp_path / "beside.onnx", most=1000)
    assert (tmp_path / "beside.onnx.data").stat().st_size == 24 * 24 * 4
    (feed,) = rows(1)
    for file in ("in.onnx", "beside.onnx"):
        session = onnxruntime.InferenceSession(tmp_path / file, providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, feed)[0], run(found.model, feed))
    again = prune(tmp_path / "beside.onnx", sparsity=0.5)
    assert again.model == found.model
