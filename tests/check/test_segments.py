from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from dsc.check import intermediates
from dsc.check.interface import input_specs
from dsc.check.intermediates import Intermediates
from dsc.check.segments import needed_nodes, read_names, segments, value_sizes
from dsc.errors import UnsupportedModelError, UsageError
from tests.compiled import TextModel

CHAIN = TextModel(
    "(float[n,64] x) => (float[n,64] y) { a = MatMul(x, w) b = Relu(a) c = Exp(a) d = Add(b, c) y = Neg(d) }",
    {"w": np.ones((64, 64), np.float32)},
).proto()
FEED = {"x": np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)}
SIZE = 3 * 64 * 4


def cut(budget: int, wanted: tuple[str, ...] = ("a", "b", "c", "d", "y")) -> list[tuple[list[str], ...]]:
    found = segments(CHAIN.graph, wanted, value_sizes(CHAIN, FEED), budget)
    return [([n.output[0] for n in s.nodes], list(s.reads), list(s.makes)) for s in found]


def test_results_of_a_segment_fit_the_budget() -> None:
    assert [nodes for nodes, _, _ in cut(10 * SIZE)] == [["a", "b", "c", "d", "y"]]
    assert [nodes for nodes, _, _ in cut(2 * SIZE)] == [["a", "b"], ["c", "d"], ["y"]]
    assert [nodes for nodes, _, _ in cut(1)] == [["a"], ["b"], ["c"], ["d"], ["y"]]


def test_segments_make_what_is_asked_for_or_read_later_and_nothing_else() -> None:
    assert cut(2 * SIZE, ("d",)) == [(["a", "b"], ["x"], ["a", "b"]), (["c", "d"], ["a", "b"], ["d"])]


def test_sizes_are_those_of_the_feed() -> None:
    sizes = value_sizes(CHAIN, FEED)
    assert {name: sizes[name] for name in "xabcdy"} == dict.fromkeys("xabcdy", SIZE)


def test_a_size_that_nobody_tells_is_that_of_what_is_read_and_not_of_weights() -> None:
    text = "(float[n,64] x) => (float[n,64] y) { a = other.Op(x, w) y = Relu(a) }"
    model = TextModel(text, {"w": np.ones((640, 64), np.float32)}).proto()
    model.opset_import.add(domain="other", version=1)
    assert value_sizes(model, FEED)["a"] == SIZE


def test_what_subgraphs_take_from_around_them_is_read() -> None:
    text = """(bool c, float[2] x, float[2] z) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] p) { q = Neg(x) p = Exp(q) },
                   else_branch = e () => (float[2] r) { r = Identity(z) }> }"""
    (node,) = TextModel(text).proto().graph.node
    assert read_names(node) == ["c", "x", "z"]


def test_only_needed_nodes_run() -> None:
    assert [node.output[0] for node in needed_nodes(CHAIN.graph, ["c"])] == ["a", "c"]
    assert [node.output[0] for node in needed_nodes(CHAIN.graph, ["d"], known=["b"])] == ["a", "c", "d"]
    asked = Intermediates(CHAIN, ["c", "x"])
    assert [name for name, _ in asked.tensors(FEED)] == ["x", "c"]


def test_nodes_without_an_order_are_refused() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(CHAIN)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    with pytest.raises(UnsupportedModelError, match="in no order: 'd' is read before it is made"):
        list(segments(model.graph, "yabcd", value_sizes(CHAIN, FEED), 1))


def test_a_larger_feed_is_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intermediates, "_BUDGET", 10 * SIZE)
    made: list[int] = []
    session = Intermediates.session
    monkeypatch.setattr(Intermediates, "session", lambda self, *args: made.append(0) or session(self, *args))
    asked, counts = Intermediates(CHAIN), []
    for rows in (3, 1, 30, 3):
        assert len(list(asked.tensors({"x": np.ones((rows, 64), np.float32)}))) == 6
        counts.append(len(made))
    assert counts == [1, 1, 6, 6]


def test_values_are_dropped_after_the_last_segment_that_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intermediates, "_BUDGET", 1)
    held: list[list[str]] = []
    run = intermediates._run

    def watched(stage: Any, values: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
        yield from run(stage, values)
        held.append(sorted(values))

    monkeypatch.setattr(intermediates, "_run", watched)
    list(Intermediates(CHAIN).tensors(FEED))
    assert held == [["a"], ["a", "b"], ["b", "c"], ["d"], []]


def test_functions_of_the_model_are_known_in_each_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc.check.intermediates._BUDGET", 1)
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 21, "mine": 1]>
        g (float[n,64] x) => (float[n,64] y) { a = Neg(x) b = mine.twice(a) y = Relu(b) }
        <opset_import: ["": 21], domain: "mine"> twice (t) => (u) { u = Add(t, t) }"""
    )
    found = dict(Intermediates(model).tensors(FEED))
    np.testing.assert_array_equal(found["y"], np.maximum(-2 * FEED["x"], 0))


def test_inputs_as_the_model_says() -> None:
    model = TextModel("(float[n,3] x, int64[2] w) => (float[n,3] y) { y = Relu(x) }", {"w": np.arange(2)}).proto()
    assert [str(spec) for spec in input_specs(model)] == ["x: float32[n, 3]"]  # w has a value: it is a constant
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[1].dim_param = -1, "?"
    assert input_specs(model)[0].shape == (None, None)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedModelError, match="'x' may have any number of dims"):
        input_specs(model)


def test_data_in_files_has_to_be_loaded_first() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(CHAIN)
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(UsageError, match="the data of weight 'w' is not in the model"):
        Intermediates(model)
