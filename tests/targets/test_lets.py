"""Bindings of expressions as LLVM code generation needs them."""

from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi
from onnx import TensorProto, helper
from tvm import tirx

import dsc
from dsc.targets.tir.lets import flat_lets


def test_a_binding_in_the_value_of_another_goes_before_it() -> None:
    x, a, b = (tirx.Var(name, "float32") for name in "xab")
    nested = tirx.Let(a, tirx.exp(tirx.Let(b, x * x, b + b)), a * a)
    expected = tirx.Let(b, x * x, tirx.Let(a, tirx.exp(b + b), a * a))
    found = flat_lets(tirx.PrimFunc([x], tirx.Evaluate(nested)))
    assert tvm_ffi.structural_equal(found.body, tirx.Evaluate(expected))


def test_a_binding_under_a_condition_stays() -> None:
    x, a, b = (tirx.Var(name, "float32") for name in "xab")
    guarded = tirx.if_then_else(x > 0, tirx.Let(b, tirx.sqrt(x), b + b), x)
    func = tirx.PrimFunc([x], tirx.Evaluate(tirx.Let(a, guarded, a * a)))
    assert tvm_ffi.structural_equal(flat_lets(func).body, func.body)


@pytest.mark.parametrize("op_type", ["LogSoftmax", "Softmax"])
@pytest.mark.parametrize(("shape", "axis"), [([1, 8], 0), ([3, 1, 8], 1), ([5, 1], 1)])
def test_softmax_of_one_element(op_type: str, shape: list[int], axis: int) -> None:
    """x - max(x) is 0, which TVM sees through some bindings only; but NaN for an infinity."""
    node = helper.make_node(op_type, ["x"], ["y"], axis=axis)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([node], op_type, infos[:1], infos[1:])
    x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    x.flat[1] = np.inf
    expected = np.full(shape, 1 if op_type == "Softmax" else 0, np.float32)
    expected.flat[1] = np.nan
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    for level in (0, 2):
        np.testing.assert_array_equal(dsc.compile(model, opt_level=level).run({"x": x})["y"], expected)


@pytest.mark.parametrize("level", [0, 2])
def test_bits_of_zero(level: int) -> None:
    """Integers are bound as the bits of floats: TVM has none of 0, which a division by a number binds."""
    divisor = helper.make_node("Constant", [], ["c"], value_ints=[2])
    node = helper.make_node("Div", ["x", "c"], ["y"])
    infos = [helper.make_tensor_value_info(name, TensorProto.INT64, dims) for name, dims in (("x", []), ("y", [1]))]
    graph = helper.make_graph([divisor, node], "bits", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    assert dsc.compile(model, opt_level=level).run({"x": np.array(-7)})["y"].tolist() == [-3]
