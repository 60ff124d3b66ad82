"""What an imported graph looks like: types, names, weights, regions, metadata."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

from dsc.errors import UsageError
from dsc.exchange import export_model, import_model
from dsc.ir import OnnxOp, YieldOp, dims_of
from dsc.ir import onnx as ops
from tests.exchange.models import assert_close, model, node, run, value

RNG = np.random.default_rng(0)


def _two_inputs() -> onnx.ModelProto:
    inputs = [
        value("ids", ["batch", "seq"], np.int64),
        value("mask", ["batch", "seq"]),
        value("free", [None, 4]),
    ]
    nodes = [
        node("Cast", ["ids"], ["a"], to=1),
        node("Add", ["a", "mask"], ["b"]),
        node("Relu", ["free"], ["z"]),
    ]
    return model(nodes, inputs, [value("b", ["batch", "seq"]), value("z", [None, 4])])


def test_dims_keep_their_names() -> None:
    graph = import_model(_two_inputs())
    assert [dims_of(v.type) for v in graph.inputs] == [("batch", "seq"), ("batch", "seq"), ("", 4)]
    assert dims_of(graph.outputs[0].type) == ("batch", "seq")
    assert (graph.input_names, graph.output_names) == (["ids", "mask", "free"], ["b", "z"])


def test_a_pinned_name_is_pinned_everywhere() -> None:
    graph = import_model(_two_inputs(), shapes={"ids": [2, "length"], "free": [3, 4]})
    assert [dims_of(v.type) for v in graph.inputs] == [(2, "length"), (2, "length"), (3, 4)]
    assert [dims_of(v.type) for v in graph.outputs] == [(2, "length"), (3, 4)]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"nope": [1]}, "the model has no input 'nope'; it has 'ids', 'mask', 'free'"),
        ({"ids": [1]}, r"shape 1 has 1 dims, but the model's is \['batch', 'seq'\]"),
        ({"free": [1, 5]}, r"input 'free': shape 1x5 asked for, but the model's is fixed to \['\?', 4\]"),
        ({"ids": [1, 8], "mask": [2, 8]}, "input 'mask': shape 2x8: dim 'batch' is 2 here, but 1 elsewhere"),
        ({"ids": [1, -8]}, "-8 is neither a size nor a name"),
    ],
)
def test_shapes_that_cannot_be_pinned(shapes: dict[str, list[int | str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        import_model(_two_inputs(), shapes=shapes)


def test_small_constants_are_in_the_ir_and_large_ones_in_the_store() -> None:
    weights = {"w": RNG.standard_normal((8, 65), np.float32), "c": np.float32([2]), "unused": np.ones(5)}
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Mul", ["t", "c"], ["y"])]
    graph = import_model(model(nodes, [value("x", [1, 8])], [value("y", [1, 65])], weights))
    assert [op.name for op in graph.ops()] == ["dsc.weight", "onnx.Constant", "onnx.MatMul", "onnx.Mul"]
    assert list(graph.weights) == ["w"]
    np.testing.assert_array_equal(graph.weights.get("w"), weights["w"])


def test_weights_are_views_of_the_bytes() -> None:
    array = RNG.standard_normal((64, 64), np.float32)
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [1, 64])], [value("y", [1, 64])], {"w": array})
    data = proto.SerializeToString()
    found = import_model(data).weights.get("w")
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    address = found.__array_interface__["data"][0]
    assert start <= address < start + len(data)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, array)


def _tensor(kind: str, array: np.ndarray) -> onnx.TensorProto:
    code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    if kind == "raw":
        return onnx.numpy_helper.from_array(array, "w")
    return onnx.helper.make_tensor("w", code, array.shape, array.reshape(-1))


@pytest.mark.parametrize("kind", ["raw", "typed"])
@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "int32",
        "int8",
        "uint16",
        "bool",
        "int64",
        "float16",
        "bfloat16",
        "int4",
        "uint2",
        "float4_e2m1fn",
        "float8_e4m3fn",
        "float8_e8m0fnu",
        "complex64",
    ],
)
def test_all_ways_to_store_a_weight(kind: str, size: int, dtype: str) -> None:
    limit = {"bool": 2, "uint2": 4}.get(dtype, 7)
    array = RNG.integers(dtype == "float8_e8m0fnu", limit, size).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    proto = model([node("Identity", ["w"], ["y"])], [], [value("y", [size], array.dtype)], opset=25)
    proto.ir_version = 13
    proto.graph.initializer.append(_tensor(kind, array))
    graph = import_model(proto)
    np.testing.assert_array_equal(graph.constant(graph.outputs[0].owner.operands[0]), array)


def test_sparse_weights_become_dense() -> None:
    values = onnx.numpy_helper.from_array(np.float32([5, 6]), "w")
    indices = onnx.numpy_helper.from_array(np.int64([[0, 1], [2, 3]]), "i")
    proto = model([node("Add", ["x", "w"], ["y"])], [value("x", [3, 4])], [value("y", [3, 4])])
    proto.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [3, 4]))
    graph = import_model(proto)
    (constant,) = [c for op in graph.ops() if (c := graph.constant(op.results[0])) is not None]
    assert constant[0, 1] == 5
    assert constant[2, 3] == 6
    assert np.count_nonzero(constant) == 2


def test_big_constant_nodes_are_weights() -> None:
    array = RNG.standard_normal((30, 30), np.float32)
    constant = node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(array))
    proto = model([constant, node("Add", ["x", "w"], ["y"])], [value("x", [30, 30])], [value("y", [30, 30])])
    graph = import_model(proto)
    assert [op.name for op in graph.ops()] == ["dsc.weight", "onnx.Add"]


def _loop() -> onnx.ModelProto:
    """y = x + 1 + 1 + 1, w from outside; and all the values on the way."""
    body = onnx.helper.make_graph(
        [
            node("Add", ["v", "w"], ["next"]),
            node("Identity", ["c"], ["again"]),
            node("Mul", ["next", "two"], ["scan"]),
        ],
        "body",
        [value("i", [], np.int64), value("c", [], np.bool_), value("v", [2])],
        [value("again", [], np.bool_), value("next", [2]), value("scan", [2])],
        [onnx.numpy_helper.from_array(np.float32([2]), "two")],
    )
    op = node("Loop", ["n", "", "x"], ["y", "all"], body=body, name="loop")
    weights = {"n": np.int64(3), "w": np.float32([1, 1])}
    return model([op], [value("x", [2])], [value("y", [2]), value("all", [None, 2])], weights)


def test_bodies_are_regions_that_see_outer_values() -> None:
    proto = _loop()
    graph = import_model(proto)
    graph.verify()
    (loop,) = [op for op in graph.ops() if isinstance(op, ops.Loop)]
    block = loop.body.block
    assert [a.name_hint for a in block.args] == ["i", "c", "v"]
    assert isinstance(block.last_op, YieldOp)
    add = next(op for op in block.ops if isinstance(op, ops.Add))
    assert add.B.owner.parent is graph.body
    x = RNG.standard_normal(2, np.float32)
    assert_close(run(export_model(graph), {"x": x}), run(proto, {"x": x}))


def test_functions_are_inlined() -> None:
    imports = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function(
        "f", "twice", ["a"], ["b"], [node("Relu", ["a"], ["t"]), node("Add", ["t", "t"], ["b"])], imports
    )
    nodes = [node("twice", ["x"], ["u"], domain="f", name="one"), node("twice", ["u"], ["y"], domain="f")]
    proto = model(nodes, [value("x", [3])], [value("y", [3])], domains=["f"], functions=[function])
    graph = import_model(proto)
    assert [op.name for op in graph.ops()] == ["onnx.Relu", "onnx.Add"] * 2
    x = RNG.standard_normal(3, np.float32)
    assert_close(run(export_model(graph), {"x": x}), run(proto, {"x": x}))


def test_metadata_goes_there_and_back() -> None:
    proto = model([node("Relu", ["x"], ["y"], name="the relu")], [value("x", [2])], [value("y", [2])])
    proto.producer_name, proto.model_version, proto.doc_string = "someone", 7, "what it is"
    onnx.helper.set_model_props(proto, {"character": "a\nb"})
    graph = import_model(proto)
    assert graph.name == "test"
    assert graph.metadata["character"] == "a\nb"
    (relu,) = graph.ops()
    assert isinstance(relu, OnnxOp)
    assert relu.node == "the relu"
    back = export_model(graph)
    assert (back.producer_name, back.model_version, back.doc_string) == ("someone", 7, "what it is")
    assert back.graph.node[0].name == "the relu"
    assert {p.key: p.value for p in back.metadata_props} == {"character": "a\nb"}


def test_outputs_without_shapes_and_negative_dims() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [value("x", [-1, 3])], [value("y", None)])
    graph = import_model(proto)
    assert dims_of(graph.inputs[0].type) == ("", 3)
    assert dims_of(graph.outputs[0].type)[1] == 3  # type: ignore[index]


_IMPORT = "import resource, sys; from dsc.exchange import import_model; import_model(sys.argv[1]).verify(); " + (
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def test_importing_does_not_read_the_weights(tmp_path: Path) -> None:
    """160 MB of weights: importing takes no more memory than importing a small model does."""
    rows = 40_000
    small = model([node("Relu", ["x"], ["y"])], [value("x", [1])], [value("y", [1])])
    big = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [1, rows])], [value("y", [1, 1000])])
    big.graph.initializer.append(
        onnx.TensorProto(name="w", data_type=1, dims=[rows, 1000], raw_data=bytes(rows * 4000))
    )
    peaks = []
    for name, proto in (("small", small), ("big", big)):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(proto.SerializeToString())
        ran = subprocess.run([sys.executable, "-c", _IMPORT, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(ran.stdout) * 1024)
    assert peaks[1] - peaks[0] < 60_000_000
