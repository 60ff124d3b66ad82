"""Shapes without arithmetic for code generation."""

from __future__ import annotations

import numpy as np
import onnx
import tvm_ffi
from onnx import TensorProto, helper
from tvm import tirx

import dsc
from dsc.targets.tir.plain_shapes import plain_shapes


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


def test_what_is_allocated_by_its_shape_keeps_it() -> None:
    rows = tirx.Var("rows", "int64")
    func = tirx.PrimFunc([], tirx.AllocBuffer(tirx.decl_buffer((rows * rows,), "float32", "own")))
    assert plain_shapes(func).same_as(func)


def _attention_of_computed_heads() -> onnx.ModelProto:
    """Exporters of wav2vec2 and SegFormer take the length from the mask: the number of heads is a quotient."""
    node = helper.make_node
    nodes = [
        node("Shape", ["mask"], ["b"], start=0, end=1),
        node("Shape", ["mask"], ["u"], start=3, end=4),
        node("Constant", [], ["rest"], value_ints=[-1, 8]),
        node("Concat", ["b", "u", "rest"], ["shape"], axis=0),
        node("Split", ["x"], ["x0", "x1", "x2"], axis=-1, num_outputs=3),
        node("Reshape", ["x0", "shape"], ["h0"], allowzero=1),
        node("Reshape", ["x1", "shape"], ["h1"], allowzero=1),
        node("Reshape", ["x2", "shape"], ["h2"], allowzero=1),
        node("Transpose", ["h0"], ["q"], perm=[0, 2, 1, 3]),
        node("Transpose", ["h1"], ["k"], perm=[0, 2, 3, 1]),
        node("Transpose", ["h2"], ["v"], perm=[0, 2, 1, 3]),
        node("Constant", [], ["scale"], value_float=0.3),
        node("Mul", ["q", "scale"], ["qs"]),
        node("MatMul", ["qs", "k"], ["scores"]),
        node("Add", ["scores", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["mixed"]),
        node("Transpose", ["mixed"], ["turned"], perm=[0, 2, 1, 3]),
        node("Constant", [], ["minus"], value_ints=[-1]),
        node("Concat", ["b", "u", "minus"], ["joined"], axis=0),
        node("Reshape", ["turned", "joined"], ["y"], allowzero=1),
    ]
    x, z = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, d)
        for n, d in (("x", ["b", "s", 96]), ("mask", ["b", 1, "t", "u"]))
    )
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)
    return helper.make_model(
        helper.make_graph(nodes, "g", [x, z], [y]), opset_imports=[helper.make_opsetid("", 22)], ir_version=10
    )


def test_a_result_whose_size_is_a_quotient() -> None:
    module = dsc.compile(_attention_of_computed_heads())
    rng = np.random.default_rng(3)
    for s, u in ((5, 5), (6, 4), (6, 3)):
        x, mask = (
            rng.standard_normal((2, s, 96)).astype(np.float32),
            rng.standard_normal((2, 1, 1, u)).astype(np.float32),
        )
        q, k, v = (p.reshape(2, u, -1, 8).transpose(0, 2, 1, 3).astype(np.float64) for p in np.split(x, 3, 2))
        e = np.exp(0.3 * q @ k.transpose(0, 1, 3, 2) + mask)
        expected = (e / e.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(2, u, -1)
        np.testing.assert_allclose(module.run({"x": x, "mask": mask})["y"], expected, rtol=1e-5, atol=1e-5)
