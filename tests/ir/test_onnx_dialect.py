from __future__ import annotations

import numpy as np
import onnx as reference
import pytest
from xdsl.ir import Block
from xdsl.traits import Pure, RecursiveMemoryEffect

from dsc.errors import UsageError
from dsc.ir import OPSET, constant_value, dims_of, onnx, tensor


def values(*shapes, dtype="float32"):
    return Block(arg_types=[tensor(dtype, s) for s in shapes]).args


def test_there_is_a_class_for_every_operator_of_the_newest_opset():
    schemas = {s.name: s for s in reference.defs.get_all_schemas() if not s.domain and not s.deprecated}
    assert set(onnx.OPS) == set(schemas)
    assert reference.defs.onnx_opset_version() == OPSET
    assert onnx.Conv.onnx_schema.since_version == schemas["Conv"].since_version


def test_operands_and_attributes_have_their_onnx_names():
    x, w = values((1, 3, 8, 8), (16, 3, 3, 3))
    conv = onnx.Conv.make(x, w, pads=[1, 1, 1, 1], node="stem/conv::0")
    assert conv.X is x
    assert conv.W is w
    assert conv.B is None
    assert conv.attr("pads") == [1, 1, 1, 1]
    assert conv.attr("group") == 1, "the schema's default"
    assert conv.attr("strides", [1, 1]) == [1, 1], "the caller's default"
    assert conv.node == "stem/conv::0"
    assert dims_of(conv.out.type) == (1, 16, 8, 8)
    assert conv.attrs() == {"pads": [1, 1, 1, 1]}


def test_absent_operands_in_the_middle_stay_absent():
    x, high = values((4,), ())
    clip = onnx.Clip.make(x, None, high)
    assert clip.min is None
    assert clip.max is high
    assert clip.node_inputs() == (x, None, high)
    assert onnx.Clip.make(x, max=high).node_inputs() == (x, None, high)


def test_variadic_operands_and_results():
    a, b = values((2, 4), (2, 6))
    concat = onnx.Concat.make(a, b, axis=1)
    assert list(concat.inputs) == [a, b]
    split = onnx.Split.make(concat.out, axis=1, num_outputs=5)
    assert [dims_of(r.type) for r in split.results] == [(2, 2)] * 5


def test_optional_outputs_are_asked_for():
    x, scale = values((2, 8), (8,))
    assert len(onnx.LayerNormalization.make(x, scale).results) == 1
    both = onnx.LayerNormalization.make(x, scale, outputs=3)
    assert len(both.results) == 3
    state = tensor("float32", (1, 1, 8))
    sequence, w, r = values((2, 1, 4), (1, 24, 4), (1, 24, 8))
    gru = onnx.GRU.make(sequence, w, r, hidden_size=8, result_types=[None, state])
    assert gru.Y is None
    assert gru.node_outputs() == (None, gru.Y_h)


def test_types_are_inferred_from_the_values_of_constants():
    (x,) = values((2, 3, 4))
    shape = onnx.Constant.make(value=np.array([0, -1]))
    assert dims_of(onnx.Reshape.make(x, shape.out).out.type) == (2, 12)
    (dynamic,) = Block(arg_types=[tensor("float32", (-1, 3, 4), ["batch", "", ""])]).args
    assert dims_of(onnx.Reshape.make(dynamic, shape.out).out.type) == ("batch", 12)


def test_wrong_operands_and_attributes_are_refused_with_the_node_and_why():
    x, w = values((1, 3, 8, 8), (16, 4))
    with pytest.raises(UsageError, match=r"onnx\.Conv \(c1\) of .* is not valid"):
        onnx.Conv.make(x, w, node="c1")
    with pytest.raises(UsageError, match=r"onnx\.Relu has no attribute alpha"):
        onnx.Relu.make(x, alpha=1.0)
    with pytest.raises(UsageError, match=r"onnx\.MatMul needs operand B"):
        onnx.MatMul.make(x)
    with pytest.raises(UsageError, match=r"takes at most 1 operands, got 2"):
        onnx.Relu.make(x, w)
    with pytest.raises(UsageError, match="'many' is not an ONNX attribute value of type INT"):
        onnx.Softmax.make(x, axis="many")


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, -0.1], np.float32),
        np.array([[True, False]]),
        np.array(7, np.uint8),
        np.zeros((0, 2), np.int64),
        np.array(["a", "b/c"], np.object_),
        np.array([0.1], np.float16),
        np.full(5, 3e38, np.float32),
    ],
)
def test_constants_give_back_their_array(array):
    found = constant_value(onnx.Constant.make(value=array).out)
    assert found is not None
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert (found == array).all()


def test_constants_of_other_attributes():
    assert constant_value(onnx.Constant.make(value_ints=[1, 2]).out).tolist() == [1, 2]
    assert constant_value(onnx.Constant.make(value_float=0.5).out) == np.float32(0.5)
    assert constant_value(values((1,))[0]) is None


def test_control_flow_is_not_pure_and_random_ops_are_not():
    assert onnx.Relu.has_trait(Pure)
    assert onnx.If.has_trait(RecursiveMemoryEffect)
    assert onnx.If.graph_attributes == ("else_branch", "then_branch")
    assert not onnx.RandomNormal.has_trait(Pure)
