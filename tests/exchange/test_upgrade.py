"""Old opsets: each change of form or meaning, against ONNX Runtime running the model as it was."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx.defs
import pytest

from dsc.errors import UnsupportedModelError
from dsc.exchange import export_model, import_model
from dsc.exchange.upgrade import OLDEST, RULES
from tests.exchange.models import assert_close, model, node, run, value

RNG = np.random.default_rng(0)


def _x(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def _w(**arrays: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}


_F = np.float32
# name, opset, node, input, weights
CASES: list[tuple[str, int, onnx.NodeProto, np.ndarray, dict[str, np.ndarray]]] = [
    ("clip", 7, node("Clip", ["x"], ["y"], min=-0.5, max=0.5), _x(3, 4), {}),
    ("clip-max", 10, node("Clip", ["x"], ["y"], max=0.5), _x(3, 4), {}),
    ("pad", 7, node("Pad", ["x"], ["y"], pads=[0, 1, 2, 0], value=1.5), _x(3, 4), {}),
    ("pad-reflect", 10, node("Pad", ["x"], ["y"], pads=[0, 1, 2, 0], mode="reflect"), _x(3, 4), {}),
    ("pad-11", 11, node("Pad", ["x", "p"], ["y"]), _x(3, 4), _w(p=np.array([1, 0, 0, 2]))),
    ("slice", 7, node("Slice", ["x"], ["y"], starts=[1, 0], ends=[3, 2]), _x(3, 4), {}),
    ("slice-axes", 9, node("Slice", ["x"], ["y"], starts=[-2], ends=[1000], axes=[1]), _x(3, 4), {}),
    ("reduce-sum", 11, node("ReduceSum", ["x"], ["y"], axes=[1], keepdims=0), _x(3, 4), {}),
    ("reduce-all", 11, node("ReduceSum", ["x"], ["y"]), _x(3, 4), {}),
    ("reduce-mean", 13, node("ReduceMean", ["x"], ["y"], axes=[-1]), _x(3, 4), {}),
    ("reduce-max", 12, node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=1), _x(3, 4), {}),
    ("reduce-l2", 11, node("ReduceL2", ["x"], ["y"], axes=[0]), _x(3, 4), {}),
    ("squeeze", 11, node("Squeeze", ["x"], ["y"], axes=[1]), _x(3, 1, 4), {}),
    ("squeeze-all", 11, node("Squeeze", ["x"], ["y"]), _x(3, 1, 4), {}),
    ("unsqueeze", 11, node("Unsqueeze", ["x"], ["y"], axes=[0, 2]), _x(3, 4), {}),
    ("split", 11, node("Split", ["x"], ["y", "z"], axis=1, split=[1, 3]), _x(3, 4), {}),
    ("split-even", 7, node("Split", ["x"], ["y", "z"], axis=1), _x(3, 4), {}),
    ("split-13", 13, node("Split", ["x"], ["y", "z"], axis=1), _x(3, 4), {}),
    ("topk", 7, node("TopK", ["x"], ["y", "z"], k=2, axis=1), _x(3, 4), {}),
    ("dropout", 7, node("Dropout", ["x"], ["y"], ratio=0.7), _x(3, 4), {}),
    ("softmax-1", 7, node("Softmax", ["x"], ["y"]), _x(2, 3, 4), {}),
    ("softmax-last", 11, node("Softmax", ["x"], ["y"], axis=2), _x(2, 3, 4), {}),
    ("softmax-minus-2", 11, node("Softmax", ["x"], ["y"], axis=-2), _x(2, 3, 4), {}),
    ("log-softmax-0", 12, node("LogSoftmax", ["x"], ["y"], axis=0), _x(2, 3, 4), {}),
    ("hardmax", 9, node("Hardmax", ["x"], ["y"]), _x(2, 3, 4), {}),
    (
        "batch-norm-7",
        7,
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], spatial=1),
        _x(2, 3, 4, 4),
        _w(s=_x(3), b=_x(3), m=_x(3), v=np.abs(_x(3))),
    ),
    (
        "batch-norm-9",
        9,
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]),
        _x(2, 3, 4, 4),
        _w(s=_x(3), b=_x(3), m=_x(3), v=np.abs(_x(3))),
    ),
    ("upsample-7", 7, node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0]), _x(1, 2, 3, 4), {}),
    (
        "upsample-9",
        9,
        node("Upsample", ["x", "s"], ["y"]),
        _x(1, 2, 3, 4),
        _w(s=np.array([1, 1, 2, 2.5], _F)),
    ),
    (
        "upsample-linear",
        9,
        node("Upsample", ["x", "s"], ["y"], mode="linear"),
        _x(1, 2, 3, 4),
        _w(s=np.array([1, 1, 2, 2], _F)),
    ),
    ("resize-10", 10, node("Resize", ["x", "s"], ["y"]), _x(1, 2, 4, 4), _w(s=np.array([1, 1, 0.5, 2], _F))),
    (
        "resize-10-linear",
        10,
        node("Resize", ["x", "s"], ["y"], mode="linear"),
        _x(1, 2, 4, 4),
        _w(s=np.array([1, 1, 0.5, 2], _F)),
    ),
    (
        "resize-11-scales",
        11,
        node("Resize", ["x", "r", "s"], ["y"], mode="linear"),
        _x(1, 2, 4, 4),
        _w(r=np.zeros(0, _F), s=np.array([1, 1, 2, 2], _F)),
    ),
    (
        "resize-11-sizes",
        11,
        node("Resize", ["x", "r", "s", "z"], ["y"], mode="cubic"),
        _x(1, 2, 4, 4),
        _w(r=np.zeros(0, _F), s=np.zeros(0, _F), z=np.array([1, 2, 7, 5])),
    ),
    (
        "scatter",
        9,
        node("Scatter", ["x", "i", "u"], ["y"], axis=1),
        _x(3, 4),
        _w(i=np.array([[1, 0]]), u=_x(1, 2)),
    ),
    ("grid-sample", 16, node("GridSample", ["x", "g"], ["y"]), _x(1, 2, 4, 4), _w(g=_x(1, 3, 3, 2))),
    (
        "grid-sample-cubic",
        16,
        node("GridSample", ["x", "g"], ["y"], mode="bicubic"),
        _x(1, 2, 4, 4),
        _w(g=_x(1, 3, 3, 2)),
    ),
    (
        "roi-align",
        10,
        node("RoiAlign", ["x", "r", "b"], ["y"], output_height=2, output_width=2),
        _x(1, 2, 8, 8),
        _w(r=np.array([[0, 0, 5, 5]], _F), b=np.array([0])),
    ),
    ("gemm", 7, node("Gemm", ["x", "w", "c"], ["y"], alpha=0.5), _x(3, 4), _w(w=_x(4, 5), c=_x(5))),
    ("prelu", 7, node("PRelu", ["x", "s"], ["y"]), _x(3, 4), _w(s=_x(4))),
    ("arg-max", 7, node("ArgMax", ["x"], ["y"], axis=1), _x(3, 4), {}),
    (
        "average-pool",
        7,
        node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        _x(1, 2, 5, 5),
        {},
    ),
    ("max-pool", 7, node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2]), _x(1, 2, 5, 5), {}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_numbers_stay(case: Any) -> None:
    _, opset, op, x, weights = case
    integers = {"ArgMax": ["y"], "TopK": ["z"]}.get(op.op_type, [])
    proto = model([op], [value("x", x.shape)], [], weights, opset=opset)
    for name in (n for n in op.output if n):
        dtype = np.int64 if name in integers else np.float32
        proto.graph.output.append(value(name, [], dtype))
        proto.graph.output[-1].type.tensor_type.ClearField("shape")
    expected = run(proto, {"x": x})
    graph = import_model(proto)
    graph.verify()
    assert_close(run(export_model(graph), {"x": x}), expected)


def test_softmax_over_the_last_axis_stays_one_op() -> None:
    proto = model([node("Softmax", ["x"], ["y"])], [value("x", [2, 8])], [value("y", [2, 8])], opset=9)
    assert [op.name for op in import_model(proto).ops()] == ["onnx.Softmax"]


def test_nodes_in_subgraphs_are_upgraded() -> None:
    branch = [node("Clip", ["x"], ["o"], min=0.0, max=1.0)]
    other = [node("Identity", ["x"], ["o"])]
    graphs = [onnx.helper.make_graph(n, "b", [], [value("o", [3])]) for n in (branch, other)]
    op = node("If", ["c"], ["y"], then_branch=graphs[0], else_branch=graphs[1])
    proto = model([op], [value("x", [3]), value("c", [], np.bool_)], [value("y", [3])], opset=10)
    x = _x(3)
    exported = export_model(import_model(proto))
    for c in (np.array(True), np.array(False)):
        assert_close(run(exported, {"x": x, "c": c}), run(proto, {"x": x, "c": c}))


@pytest.mark.parametrize(
    ("opset", "op", "message"),
    [
        (
            7,
            node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"], name="bn", spatial=0),
            "'bn'.*spatial=0",
        ),
        (
            9,
            node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y", "m", "v", "a", "b"], name="bn"),
            "'bn'.*training mode",
        ),
        (
            11,
            node(
                "Resize",
                ["x", "k", "k"],
                ["y"],
                name="r",
                coordinate_transformation_mode="tf_half_pixel_for_nn",
            ),
            "'r'.*tf_half_pixel_for_nn",
        ),
    ],
)
def test_what_has_no_equal_today(opset: int, op: onnx.NodeProto, message: str) -> None:
    weights = _w(s=np.ones(2, _F), k=np.ones(4, _F))
    proto = model([op], [value("x", [1, 2, 2, 2])], [value("y", [1, 2, 2, 2])], weights, opset=opset)
    with pytest.raises(UnsupportedModelError, match=message):
        import_model(proto)


def test_of_opsets_before_the_oldest_what_is_still_the_same_is_read() -> None:
    """Softplus and Transpose are as they were in opset 1."""
    nodes = [node("Softplus", ["x"], ["s"]), node("Transpose", ["s"], ["y"], perm=[1, 0])]
    proto = model(nodes, [value("x", [3, 4])], [value("y", [4, 3])], opset=1)
    x = _x(3, 4)
    (result,) = run(export_model(import_model(proto)), {"x": x})
    np.testing.assert_allclose(result, np.log1p(np.exp(x)).T, rtol=1e-5)


def test_of_opsets_before_the_oldest_what_changed_is_named() -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["n"]), node("Add", ["n", "x"], ["y"])]
    proto = model(nodes, [value("x", [3])], [value("y", [3])], opset=5)
    with pytest.raises(UnsupportedModelError, match=f"opset 5 is too old: {OLDEST} to .*, and Add, Neg, Relu changed"):
        import_model(proto)


# New attributes whose default is what the operator did before they were there, renamed parameters, and inputs
# that became optional or were added at the end: no rewriting is needed. (GroupNormalization 18 is refused by
# the checker: it was deprecated at once.)
_COMPATIBLE = {
    "ArgMax", "ArgMin", "Attention", "AveragePool", "Cast", "CastLike", "Constant", "DepthToSpace",
    "DequantizeLinear", "GRU", "GatherND", "Gemm", "LSTM", "LpPool", "MaxPool", "OptionalHasElement",
    "QuantizeLinear", "RNN", "Range", "Reshape", "ScatterElements", "ScatterND", "Shape", "SpaceToDepth",
    "Resize", "TopK", "Split", "BatchNormalization", "Pad", "Dropout",
}  # fmt: skip


def _form(schema: onnx.defs.OpSchema) -> tuple[Any, ...]:
    def default(attribute: onnx.defs.OpSchema.Attribute) -> bytes:
        return attribute.default_value.SerializeToString()

    attributes = {n: (str(a.type), a.required, default(a)) for n, a in schema.attributes.items()}
    inputs = [(p.name, p.option) for p in schema.inputs]
    return inputs, [(p.name, p.option) for p in schema.outputs], attributes, schema.deprecated


def test_every_change_of_form_has_a_rule_or_is_known_to_be_compatible() -> None:
    """Fails when a new onnx package changes an operator again: then decide which of the two it is."""
    by_name: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            by_name.setdefault(schema.name, []).append(schema)
    unhandled = []
    for name, schemas in by_name.items():
        schemas.sort(key=lambda s: s.since_version)
        for old, new in itertools.pairwise(schemas):
            if new.since_version > OLDEST and _form(old) != _form(new):
                has_rule = any(to == new.since_version for to, _ in RULES.get(name, []))
                if not has_rule and name not in _COMPATIBLE | {"Upsample", "GroupNormalization"}:
                    unhandled.append(f"{name} {old.since_version} -> {new.since_version}")
    assert not unhandled
