"""Models that ONNX Runtime runs though the ONNX checker, or strict inference, does not take them as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

from dsc.errors import UnsupportedModelError, UsageError
from dsc.exchange import import_model
from dsc.exchange.exporter import export_model
from dsc.ir import dims_of
from tests.exchange.models import assert_close, model, node, run, value

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 4, 5, 5), np.float32)
INPUT = value("x", X.shape)


def _agrees(proto: onnx.ModelProto) -> None:
    """The graph, exported, computes what ONNX Runtime makes of the model."""
    assert_close(run(export_model(import_model(proto)), {"x": X}), run(proto, {"x": X}))


def _ceil_pool(declared: list[int], opset: int = 11) -> onnx.ModelProto:
    pool = node("MaxPool", ["x"], ["t"], kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
    return model([pool, node("Relu", ["t"], ["y"])], [INPUT], [value("y", declared)], opset=opset)


@pytest.mark.parametrize("declared", [[1, 4, 4, 4], [1, 4], [1, 4, 2, 2]])
def test_a_wrong_declared_shape_is_a_warning(declared: list[int], caplog: pytest.LogCaptureFixture) -> None:
    proto = _ceil_pool(declared)
    graph = import_model(proto)
    assert dims_of(graph.outputs[0].type) == (1, 4, 2, 2)
    assert_close(run(export_model(graph), {"x": X}), [np.maximum(run(_ceil_pool([1, 4, 2, 2]), {"x": X})[0], 0)])
    said = f"output 'y' is declared as {declared}, but is [1, 4, 2, 2]"
    assert (said in caplog.text) == (declared != [1, 4, 2, 2])


def test_a_wrong_declared_element_type_is_an_error() -> None:
    with pytest.raises(UnsupportedModelError, match="elem type"):
        import_model(model([node("Relu", ["x"], ["y"])], [INPUT], [value("y", [1, 4, 5, 5], np.int64)]))


def test_names_of_declared_dims_are_kept() -> None:
    proto = model(
        [node("NonZero", ["x"], ["t"]), node("Cast", ["t"], ["y"], to=1)], [INPUT], [value("y", [4, "found"])]
    )
    assert dims_of(import_model(proto).outputs[0].type) == (4, "found")


def _without_type(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].ClearField("type")


def _without_shape(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].type.tensor_type.ClearField("shape")


def _without_name(proto: onnx.ModelProto) -> None:
    proto.graph.name = ""


def _usual_domain(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].domain = "ai.onnx"


def _other_imports(proto: onnx.ModelProto) -> None:
    proto.opset_import.extend([onnx.helper.make_opsetid(d, 1) for d in ("com.microsoft", "ai.onnx.ml", "acme")])


@pytest.mark.parametrize("change", [_without_type, _without_shape, _without_name, _usual_domain, _other_imports])
def test_things_left_out(change: Callable[[onnx.ModelProto], None]) -> None:
    proto = model([node("Relu", ["x"], ["y"])], [INPUT], [value("y", X.shape)])
    change(proto)
    _agrees(proto)


def test_group_normalization_of_opset_18() -> None:
    """Scale and bias for each group; ONNX marked it deprecated, PyTorch wrote it."""
    norm = node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    weights = {n: RNG.standard_normal(2, np.float32) for n in "sb"}
    _agrees(model([norm], [INPUT], [value("y", X.shape)], weights, opset=18))


def test_an_output_listed_twice_is_one() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [INPUT], [value("y", X.shape)] * 2)
    assert import_model(proto).output_names == ["y"]


def test_an_input_of_no_known_rank_can_be_given_a_shape() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [value("x", None)], [value("y", None)])
    assert dims_of(import_model(proto).inputs[0].type) is None
    assert dims_of(import_model(proto, shapes={"x": [2, "n"]}).outputs[0].type) == (2, "n")


def test_every_form_of_constant() -> None:
    sparse = onnx.helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(np.float32([2, 3]), "v"), onnx.numpy_helper.from_array(np.array([1, 3]), "i"), [5]
    )
    nodes = [
        node("Constant", [], ["a"], value_float=2.0),
        node("Constant", [], ["b"], value_floats=[1.0, 2, 3, 4, 5]),
        node("Constant", [], ["c"], value_int=3),
        node("Constant", [], ["d"], value_ints=[3, 1, 1, 1, 1]),
        node("Constant", [], ["e"], sparse_value=sparse),
        node("Add", ["c", "d"], ["f"]),
        node("Cast", ["f"], ["g"], to=1),
        node("Sum", ["x", "a", "b", "e", "g", "h"], ["y"]),
    ]
    proto = model(nodes, [INPUT], [value("y", X.shape)])
    sparse.values.name = "h"
    proto.graph.sparse_initializer.append(sparse)
    _agrees(proto)


@pytest.mark.parametrize("size", [5, 500])
def test_an_initializer_that_is_also_an_input(size: int) -> None:
    """A constant, as exporters mean it; named with its shape it is an input, as the specification has it."""
    weights = {"w": np.ones(size, np.float32)}
    inputs = [value("x", [2, size]), value("w", [size])]
    proto = model([node("Mul", ["x", "w"], ["y"])], inputs, [value("y", [2, size])], weights)
    assert import_model(proto).input_names == ["x"]
    graph = import_model(proto, shapes={"w": [size]})
    assert graph.input_names == ["x", "w"]
    feeds = {"x": RNG.standard_normal((2, size), np.float32), "w": RNG.standard_normal(size, np.float32)}
    assert_close(run(export_model(graph), feeds), run(proto, feeds))
    with pytest.raises(UsageError, match="has no input 'v'"):
        import_model(proto, shapes={"v": [size]})
