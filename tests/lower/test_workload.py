"""What makes two workloads the same, and what a kernel is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te, tirx
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.test import TestOp as AnyOp
from xdsl.ir import Block, Region, SSAValue

from dsc.ir import FusionOp, Graph, SparseAttr, WeightOp, YieldOp, onnx, tensor
from dsc.lower import UnsupportedOpError, Workload, lower_body, output_shapes, placeholders, unsupported
from dsc.lower.exprs import same
from dsc.sparsity import Pattern


def value(*dims: int | str, dtype: str = "float32") -> SSAValue:
    """A value of some other op; dims that are names are dynamic."""
    shape = [-1 if isinstance(d, str) else d for d in dims]
    type_ = tensor(dtype, shape, [d if isinstance(d, str) else "" for d in dims])
    return AnyOp(result_types=[type_]).results[0]


def constant(array: Any) -> SSAValue:
    return onnx.Constant.make(value=np.asarray(array)).out


def conv_relu(x: SSAValue, w: SSAValue, **attributes: Any) -> FusionOp:
    """A fusion Conv -> + bias [8, 1, 1] -> Relu, the bias a constant of the body."""
    body = Block(arg_types=[x.type, w.type])
    conv = onnx.Conv.make(*body.args, **attributes)
    bias = onnx.Constant.make(value=np.arange(8, dtype=np.float32).reshape(8, 1, 1))
    add = onnx.Add.make(conv.out, bias.out)
    relu = onnx.Relu.make(add.out)
    body.add_ops([conv, bias, add, relu, YieldOp(relu.out)])
    return FusionOp("conv", [x, w], [relu.out.type], Region(body))


def weight(*shape: int) -> SSAValue:
    return WeightOp("w", tensor("float32", shape)).out


def test_equal_structure_has_equal_keys_whatever_the_names() -> None:
    a = Workload.of(onnx.Add.make(value("n", 4), value("n", 4)))
    b = Workload.of(onnx.Add.make(value("batch", 4), value("batch", 4), node="another"))
    assert a.key() == b.key()


@pytest.mark.parametrize(
    "other",
    [
        lambda: onnx.Add.make(value("n", 4), value("m", 4)),
        lambda: onnx.Add.make(value("n", 5), value("n", 5)),
        lambda: onnx.Mul.make(value("n", 4), value("n", 4)),
        lambda: onnx.Add.make(value("n", 4, dtype="float16"), value("n", 4, dtype="float16")),
        lambda: onnx.Add.make(value("n", 4), weight(4)),
    ],
)
def test_keys_differ_by_dims_ops_types_and_constness(other: Any) -> None:
    assert Workload.of(onnx.Add.make(value("n", 4), value("n", 4))).key() != Workload.of(other()).key()


def test_keys_differ_by_attributes_and_small_constants() -> None:
    x, w = value(1, 4, 9, 9), weight(8, 4, 3, 3)
    keys = {Workload.of(conv_relu(x, w, strides=[s, s])).key() for s in (1, 2)}
    keys |= {Workload.of(onnx.Transpose.make(value(2, 3), perm=p)).key() for p in ([0, 1], [1, 0])}
    keys |= {Workload.of(onnx.Reshape.make(value(6, 2), constant(s))).key() for s in ([3, 4], [4, 3])}
    keys |= {Workload.of(onnx.Add.make(value(6), constant(np.float32(s)))).key() for s in (1, 2)}
    assert len(keys) == 8


def test_inputs_of_a_fusion_are_its_arguments_and_then_constants_that_are_no_scalars() -> None:
    fusion = conv_relu(value(1, 4, 9, 9), weight(8, 4, 3, 3))
    workload = Workload.of(fusion)
    assert workload.inputs[:2] == tuple(fusion.block.args)
    assert [operand.source for operand in workload.operands[:2]] == list(fusion.operands)
    assert workload.inputs[2] is workload.operands[2].source
    assert [operand.constant for operand in workload.operands] == [False, True, True]
    assert [tuple(map(int, t.shape)) for t in placeholders(workload)] == [
        (1, 4, 9, 9),
        (8, 4, 3, 3),
        (8, 1, 1),
    ]


def dequantized(scale: Any, zero: int, *dims: int | str, x: SSAValue | None = None) -> Workload:
    x = value(*dims, dtype="uint8") if x is None else x
    return Workload.of(onnx.DequantizeLinear.make(x, constant(np.float32(scale)), constant(np.uint8(zero))))


def test_scales_and_zero_points_are_operands() -> None:
    workload = dequantized(0.5, 3, 4, 8)
    x, scale, zero = workload.operands
    assert [o.constant for o in workload.operands] == [False, True, True]
    assert [o.shape for o in workload.operands] == [(4, 8), (), ()]
    assert [o.element.dtype for o in workload.operands] == [np.uint8, np.float32, np.uint8]
    assert x.value is x.source
    assert (scale.source, zero.source) == tuple(workload.op.operands[1:])
    assert workload.key() == dequantized(0.25, 128, 4, 8).key()
    assert workload.key() != dequantized([0.5] * 8, 3, 4, 8).key()


def test_a_scale_that_is_read_otherwise_too_stays_in_the_key() -> None:
    """A multiplication by it may be one by 1, say: its value decides the code."""

    def scaled_twice(scale: float) -> Workload:
        body = Block(arg_types=[value(4, 8, dtype="uint8").type])
        number = onnx.Constant.make(value=np.float32(scale))
        real = onnx.DequantizeLinear.make(body.args[0], number.out)
        product = onnx.Mul.make(real.out, number.out)
        body.add_ops([number, real, product, YieldOp(product.out)])
        x = value(4, 8, dtype="uint8")
        return Workload.of(FusionOp("elementwise", [x], [product.out.type], Region(body)))

    assert len(scaled_twice(1).inputs) == 1
    assert scaled_twice(1).key() != scaled_twice(2).key()


def test_a_constant_that_is_read_as_a_tensor_and_as_sizes_is_an_input_and_in_the_key() -> None:
    def expanded(sizes: list[int]) -> Workload:
        body = Block(arg_types=[tensor("int64", (1, 1, 2))])
        number = onnx.Constant.make(value=np.array(sizes))
        total = onnx.Add.make(body.args[0], number.out)
        wide = onnx.Expand.make(total.out, number.out, result_types=[tensor("int64", (-1, -1, -1))])
        body.add_ops([number, total, wide, YieldOp(wide.out)])
        x = value(1, 1, 2, dtype="int64")
        return Workload.of(FusionOp("elementwise", [x], [wide.out.type], Region(body)))

    assert len(expanded([5, 2]).inputs) == 2
    assert expanded([5, 2]).key() != expanded([7, 2]).key()


def test_what_a_type_says_of_the_contents_is_in_the_key() -> None:
    x, plain = value(4, 8), tensor("float32", (8, 8))
    sparse = TensorType(plain.element_type, plain.get_shape(), SparseAttr.of(Pattern.parse("2:4"), 1, 0.5))
    workloads = [Workload.of(onnx.MatMul.make(x, WeightOp("w", type_).out)) for type_ in (plain, sparse)]
    assert [w.operands[1].encoding for w in workloads] == [None, sparse.encoding]
    assert workloads[0].key() != workloads[1].key()
    assert '%1: float32[8,8] #dsc.sparse<"2:4", axis = 1, kept = 128> const' in workloads[1].key()
    named = Workload.of(onnx.Relu.make(value("n", 4))).operands[0]
    assert named.encoding is None, "names of dims are part of the shape"


def test_integers_read_at_compile_time_are_no_inputs() -> None:
    workload = Workload.of(onnx.Reshape.make(value(6, 2), constant([3, -1])))
    assert len(workload.inputs) == 1
    assert output_shapes(workload) == [[3, 4]]


def test_epilogue_on_a_result_of_the_kernels_own() -> None:
    workload = Workload.of(conv_relu(value(1, 4, 9, 9), weight(8, 4, 3, 3)))
    conv = workload.body[0]
    own = te.placeholder((1, 8, 7, 7), "float32", name="own")
    bias = placeholders(workload)[2]
    (out,) = lower_body(workload, {conv.results[0]: own, workload.inputs[2]: bias})
    func = te.create_prim_func([own, bias, out])
    assert "conv" not in func.script()
    assert "T.max(T.dsc.constant(T.float32(0.0))" in func.script()


def test_shapes_come_back_in_the_callers_terms() -> None:
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    x, y = value("", 5), value("", 5)
    op = onnx.Concat.make(x, y, axis=0)
    workload = Workload.of(op, {x: [n, 5], y: [m * 2, 5]})
    ((rows, columns),) = output_shapes(workload)
    assert columns == 5
    assert same(rows, n + m * 2)


def test_equal_expressions_of_the_caller_are_one_variable() -> None:
    n = tirx.Var("n", "int64")
    x, y = value("a", 5), value("b", 5)
    workload = Workload.of(onnx.Add.make(x, y), {x: [n * 2, 5], y: [n + n, 5]})
    assert len(workload.symbols.variables) == 1


def test_target_shape_given_by_the_caller() -> None:
    n, s = tirx.Var("n", "int64"), tirx.Var("s", "int64")
    x, target = value("", "", 12), value(4, dtype="int64")
    known = np.empty(4, object)
    known[:] = [n, s, 3, -1]
    op = onnx.Reshape.make(x, target, result_types=[tensor("float32", [-1, -1, -1, -1])])
    workload = Workload.of(op, {x: [n, s, 12]}, {target: known})
    assert len(workload.inputs) == 1
    ((a, b, c, d),) = output_shapes(workload)
    assert same(a, n)
    assert same(b, s)
    assert (c, d) == (3, 4)


def test_floats_and_conditions_of_dims_are_in_terms_of_variables() -> None:
    n = tirx.Var("n", "int64")
    start, limit, delta = value(), value(), value()
    known = {start: 0.0, limit: tirx.Cast("float32", n), delta: 1.0}
    arrays = {v: np.array(None, object) for v in known}
    for v, number in known.items():
        arrays[v][()] = number
    op = onnx.Range.make(start, limit, delta, result_types=[tensor("float32", [-1])])
    workload = Workload.of(op, {}, arrays)
    assert workload.inputs == ()
    assert len(workload.symbols.variables) == 1
    assert same(output_shapes(workload)[0][0], n)


def test_shape_that_depends_on_data_is_refused_with_its_op() -> None:
    op = onnx.Reshape.make(
        value(6, 2), value(2, dtype="int64"), result_types=[tensor("float32", [-1, -1])], node="late"
    )
    with pytest.raises(UnsupportedOpError, match=r"onnx\.Reshape \(node 'late'\): operand 1 depends on data"):
        output_shapes(Workload.of(op))


def test_all_unsupported_ops_of_a_graph_are_listed() -> None:
    graph = Graph.build([("x", tensor("float32", (4, 3)))])
    (x,) = graph.inputs
    some = onnx.NonZero.make(x, node="where")
    text = onnx.Cast.make(x, to=8, node="text")
    det = onnx.Det.make(value(4, 4), node="det")
    graph.body.add_ops([det.X.owner, some, text, det])
    graph.set_outputs([("some", some.out), ("text", text.out), ("det", det.out)])
    graph.body.detach_op(det.X.owner)
    assert [(u.op, u.node) for u in unsupported(graph)] == [
        ("NonZero", "where"),
        ("Cast", "text"),
        ("Det", "det"),
    ]
    assert "shape of its result depends on data" in str(unsupported(graph)[0])
