"""Random inputs: what a model can be run on."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
from onnx import TensorProto

from dsc.check import Reference, random_inputs, usable_inputs
from dsc.check.indices import index_bound
from dsc.errors import UsageError
from dsc.exchange import import_model

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT
make = onnx.helper.make_node


def embedding(*between: onnx.NodeProto, last: str = "ids", dims: tuple[object, ...] = ("n", "s")) -> onnx.ModelProto:
    """ids, what `between` makes of them, and a table of 11 rows."""
    weights = {
        "table": np.ones((11, 4), np.float32),
        "two": np.array(2),
        "flat": np.array([-1]),
        "start": np.array([0]),
        "end": np.array([3]),
        "axis": np.array([1]),
    }
    made = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    nodes = [*between, make("Gather", ["table", last], ["y"])]
    inputs = [
        onnx.helper.make_tensor_value_info("ids", INT64, list(dims)),
        onnx.helper.make_tensor_value_info("mask", TensorProto.BOOL, list(dims)),
    ]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [onnx.helper.make_empty_tensor_value_info("y")], made)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("between", "bound"),
    [
        ([], 11),
        ([make("Cast", ["ids"], ["i"], to=TensorProto.INT32)], 11),
        ([make("Reshape", ["ids", "flat"], ["i"])], 11),
        ([make("Unsqueeze", ["ids", "axis"], ["u"]), make("Cast", ["u"], ["i"], to=TensorProto.INT32)], 11),
        ([make("Slice", ["ids", "start", "end", "axis"], ["i"])], 11),
        ([make("Concat", ["ids", "ids"], ["i"], axis=1)], 11),
        ([make("Where", ["mask", "ids", "two"], ["i"])], 11),
        ([make("Add", ["ids", "two"], ["i"])], 9),
        ([make("Add", ["two", "ids"], ["i"])], 9),
        ([make("Sub", ["ids", "two"], ["i"])], 13),
    ],
)
def test_ids_are_within_the_table(between: list[onnx.NodeProto], bound: int) -> None:
    graph = import_model(embedding(*between, last="i" if between else "ids"))
    assert index_bound(graph, graph.inputs[0]) == bound
    assert random_inputs(graph, sizes={"s": 400})["ids"].max() == bound - 1


def test_the_smaller_of_two_tables() -> None:
    model = embedding(make("GatherElements", ["table", "ids"], ["z"], axis=1))
    graph = import_model(model)
    assert index_bound(graph, graph.inputs[0]) == 4


def test_kinds_of_numbers() -> None:
    kinds = {"f": FLOAT, "h": TensorProto.FLOAT16, "u": TensorProto.UINT8, "i": TensorProto.INT8, "l": INT64, "b": 9}
    inputs = [onnx.helper.make_tensor_value_info(name, code, [50, 50]) for name, code in kinds.items()]
    outputs = [onnx.helper.make_tensor_value_info(f"{name}_", code, [50, 50]) for name, code in kinds.items()]
    nodes = [make("Identity", [name], [f"{name}_"]) for name in kinds]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    found = random_inputs(import_model(model))
    assert found["f"].std() == pytest.approx(1, abs=0.1)
    assert found["h"].dtype == np.float16
    assert (found["u"].min(), found["u"].max()) == (0, 255)
    assert (found["i"].min(), found["i"].max()) == (-128, 127)
    assert set(np.unique(found["l"])) == {0, 1}
    ranged = random_inputs(import_model(model), ranges={"f": (5, 6), "l": (-3, 30522), "u": (7, 8)})
    assert 5 <= ranged["f"].min() < 5.1 < 5.9 < ranged["f"].max() < 6
    assert -3 <= ranged["l"].min() < 100
    assert 30000 < ranged["l"].max() < 30522
    assert set(np.unique(ranged["u"])) == {7}
    with pytest.raises(UsageError, match="input 'u': 0 to 257 is not a range of uint8"):
        random_inputs(import_model(model), ranges={"u": (0, 257)})
    with pytest.raises(UsageError, match="a range is given for 'z', the model's inputs are f, h"):
        random_inputs(import_model(model), ranges={"z": (0, 1)})


def test_free_dims_take_turns_with_several_sizes() -> None:
    model = embedding()
    found = usable_inputs(import_model(model), Reference(model), range(4))
    assert [sample["ids"].shape for sample in found] == [(2, 32), (1, 17), (3, 8), (1, 1)]
    assert all(sample["mask"].shape == sample["ids"].shape for sample in found)
    again = usable_inputs(import_model(model), Reference(model), range(4))
    assert all((a["ids"] == b["ids"]).all() for a, b in zip(found, again, strict=True))


def test_sizes_that_the_model_does_not_take_are_left_out() -> None:
    """A product of the ids' positions with 17 of them: only that length will do."""
    weights = {"w": np.ones((17, 2), np.float32)}
    made = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    x = onnx.helper.make_tensor_value_info("x", FLOAT, ["n", "s"])
    graph = onnx.helper.make_graph(
        [make("Relu", ["x"], ["r"]), make("Reshape", ["r", "shape"], ["t"]), make("MatMul", ["t", "w"], ["y"])],
        "g",
        [x],
        [onnx.helper.make_tensor_value_info("y", FLOAT, [None, 2])],
        [*made, onnx.numpy_helper.from_array(np.array([-1, 17]), "shape")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    found = usable_inputs(import_model(model), Reference(model), range(3))
    assert [sample["x"].shape for sample in found] == [(1, 17)] * 3
    assert not (found[0]["x"] == found[1]["x"]).all()
