"""Shapes without arithmetic for code generation."""

from __future__ import annotations

import numpy as np
import tvm_ffi
from onnx import TensorProto, helper
from tvm import tirx

import dsc
from dsc.codegen.plain_shapes import plain_shapes


def _func(*shape: tirx.Expr | int) -> tirx.PrimFunc:
    zero = tirx.const(0, "int64")
    view = tirx.decl_buffer(shape, "float32", "view")
    data = tirx.decl_buffer((1,), "float32", "data")
    body = [tirx.AllocBuffer(data), tirx.DeclBuffer(view, data=data.data), tirx.BufferStore(view, view[zero], [zero])]
    return tirx.PrimFunc([], tirx.SeqStmt(body))


def test_a_dim_that_is_computed_becomes_one() -> None:
    rows = tirx.Var("rows", "int64")
    func = plain_shapes(_func(tirx.floormod(rows, tirx.const(-3, "int64")) + rows))
    _, declared, store = func.body
    assert [int(size) for size in declared.buffer.shape] == [1]
    assert store.buffer.same_as(declared.buffer)
    loads: list[tirx.Var] = []
    tvm_ffi.structural_walk(store.value, (tirx.Var, loads.append))
    assert loads[0].same_as(declared.buffer)


def test_other_dims_stay() -> None:
    for func in (_func(tirx.const(5, "int64")), _func(tirx.Var("rows", "int64"))):
        assert plain_shapes(func).same_as(func)


def test_a_result_whose_size_divides_a_difference() -> None:
    """The length after strided convolutions, by which an attention is as long as wide: wav2vec2, SegFormer."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["t"], kernel_shape=[3], strides=[3]),
        helper.make_node("AveragePool", ["t"], ["p"], kernel_shape=[5], strides=[3]),
        helper.make_node("Transpose", ["p"], ["q"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "p"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "q"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 16, "n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)
    model = helper.make_model(
        helper.make_graph(nodes, "strided", [x], [y]), opset_imports=[helper.make_opsetid("", 22)], ir_version=10
    )
    module = dsc.compile(model)
    for size in (15, 100, 203):
        array = np.random.default_rng(size).standard_normal((2, 16, size)).astype(np.float32)
        once = array[:, :, : size // 3 * 3].reshape(2, 16, -1, 3).mean(3)
        p = np.stack([once[:, :, k : k + 5].mean(2) for k in range(0, once.shape[2] - 4, 3)], 2).astype(np.float64)
        scores = np.exp(np.einsum("bck,bcl->bkl", p, p))
        expected = np.einsum("bkl,bcl->bkc", scores / scores.sum(-1, keepdims=True), p)
        np.testing.assert_allclose(module.run({"x": array})["y"], expected, rtol=1e-5, atol=1e-5)
