from __future__ import annotations

import numpy as np
import onnx
import pytest
from xdsl.dialects.builtin import TensorType, UnrankedTensorType, f32
from xdsl.ir import Attribute, Block

from dsc.errors import UnsupportedModelError
from dsc.ir import DYNAMIC, SparseAttr, dims_of, element_of, element_of_dtype, encoding_of, shape_of, tensor
from dsc.ir import onnx as ops
from dsc.ir.onnx.infer import from_type_proto, merge_types, to_type_proto
from dsc.ir.types import ELEMENT_TYPES, OptionalType, SequenceType, tensor_of_dims
from dsc.sparsity import Pattern


def test_every_onnx_element_type_has_one_mlir_type_and_numpy_dtype():
    named = {n: c for n, c in onnx.TensorProto.DataType.items() if n != "UNDEFINED"}
    assert {e.name: e.code for e in ELEMENT_TYPES} == named
    for element in ELEMENT_TYPES:
        assert element.dtype == onnx.helper.tensor_dtype_to_np_dtype(element.code)
        assert element_of(element.mlir) is element
        assert element_of_dtype(element.dtype) is element


def test_unsigned_integers_are_marked_and_signed_ones_are_not():
    assert str(tensor(np.uint8, (2,))) == "tensor<2xui8>"
    assert str(tensor(np.int8, (2,))) == "tensor<2xi8>"
    assert str(tensor(bool, ())) == "tensor<i1>"
    with pytest.raises(UnsupportedModelError, match="datetime64"):
        element_of_dtype(np.dtype("datetime64[s]"))


def test_dims_have_names_where_they_are_dynamic():
    type_ = tensor("float32", (-1, 3, -1), ["n", "unused", ""])
    assert dims_of(type_) == ("n", 3, "")
    assert shape_of(type_) == (DYNAMIC, 3, DYNAMIC)
    assert tensor_of_dims(f32, ("n", 3, "")) == type_
    assert str(tensor("float32", (1, 2), ["a", "b"])) == "tensor<1x2xf32>", "no encoding where all is static"


@pytest.mark.parametrize(
    "type_",
    [
        tensor("float32", (-1, 3, -1), ["n", "", ""]),
        tensor("float16", ()),
        UnrankedTensorType(f32),
        SequenceType(tensor("int64", (2,))),
        OptionalType(SequenceType(tensor("float32", (1,)))),
    ],
)
def test_types_go_to_onnx_and_back(type_):
    assert from_type_proto(to_type_proto(type_)) == type_


def test_merging_keeps_what_is_known():
    a = tensor("float32", (-1, 3, -1), ["n", "", ""])
    b = tensor("float32", (-1, -1, 4), ["m", "c", ""])
    assert dims_of(merge_types(a, b)) == ("n", 3, 4)
    assert merge_types(UnrankedTensorType(f32), a) == a


@pytest.mark.parametrize(
    ("attributes", "dims"),
    [
        ({"pads": [1, 1, 1, 1]}, ("n", 4, "h", "w")),
        ({"pads": [1, 1, 1, 1], "strides": [2, 2]}, ("n", 4, "h_m1s2", "w_m1s2")),
        ({}, ("n", 4, "h_m3s1", "w_m3s1")),
        ({"pads": [2, 2, 2, 2], "dilations": [2, 2]}, ("n", 4, "h", "w")),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 1]}, ("n", 4, "h_m1s2", "w")),
    ],
)
def test_windows_name_the_dims_they_make(attributes, dims):
    x, w = Block(
        arg_types=[tensor("float32", (-1, 3, -1, -1), ["n", "", "h", "w"]), tensor("float32", (4, 3, 3, 3))]
    ).args
    assert dims_of(ops.Conv.make(x, w, **attributes).out.type) == dims


def test_windows_of_an_unnamed_size_stay_unnamed_and_those_that_may_be_left_out():
    (x,) = Block(arg_types=[tensor("float32", (1, 3, -1, -1), ["", "", "", "w"])]).args
    assert dims_of(ops.MaxPool.make(x, kernel_shape=[2, 2], strides=[2, 2]).out.type) == (1, 3, "", "w_m2s2")
    rounded_up = {"kernel_shape": [2, 2], "ceil_mode": 1}
    assert dims_of(ops.MaxPool.make(x, **rounded_up, strides=[2, 2]).out.type) == (1, 3, "", "w_m1s2")
    assert dims_of(ops.MaxPool.make(x, **rounded_up, strides=[3, 3]).out.type) == (1, 3, "", "")
    assert dims_of(ops.MaxPool.make(x, **rounded_up, pads=[1, 1, 1, 1]).out.type) == (1, 3, "", "")


def sparse(*shape: int) -> TensorType[Attribute]:
    return TensorType(f32, shape, SparseAttr.of(Pattern.parse("2:4"), 1, 0.5))


def test_a_sparsity_pattern_is_neither_a_shape_nor_for_onnx():
    type_ = sparse(8, 4)
    assert str(type_) == 'tensor<8x4xf32, #dsc.sparse<"2:4", axis = 1, kept = 128>>'
    assert dims_of(type_) == (8, 4)
    assert encoding_of(type_) == SparseAttr.of(Pattern.parse("2:4"), 1, 0.5)
    assert from_type_proto(to_type_proto(type_)) == tensor("float32", (8, 4))
    assert encoding_of(tensor("float32", (-1, 3), ["n", ""])) is None
    assert encoding_of(SequenceType(type_)) is None


def test_merging_keeps_what_either_type_says_of_the_contents():
    a, b = sparse(8, 4), tensor("float32", (-1, 4), ["n", ""])
    assert merge_types(a, b) == merge_types(b, a) == a
