"""Canonicalize as a whole: folding, shape arithmetic, common and dead code, types, and that it ends where it
should.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx as onnx_package
import pytest
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.exchange import export_model, import_model
from dsc.ir import Graph, WeightOp, dims_of, shape_of
from dsc.passes import Pipeline
from dsc.passes.canonicalize import Canonicalize, ExpandFunctions, Fold, fold
from tests.exchange.models import assert_close, model, node, run, value
from tests.passes.equations import Builder, assert_same_numbers, build, ops

Body = Callable[[Builder, SSAValue], Any]


def _canonical(graph: Graph) -> Graph:
    after = graph.clone()
    Canonicalize().run(after)
    assert_same_numbers(graph, after)
    again = after.text()
    assert not Canonicalize().run(after).changed
    assert after.text() == again
    return after


def _shape_constant(graph: Graph) -> list[int]:
    """The shape operand of the only Reshape."""
    (reshape,) = [op for op in graph.ops() if op.name == "onnx.Reshape"]
    found = graph.constant(reshape.operands[1])
    assert found is not None
    return [int(v) for v in found]


def _dim(b: Builder, x: SSAValue, axis: int) -> SSAValue:
    """As PyTorch writes x.shape[axis] in a list."""
    return b("Unsqueeze", b("Gather", b("Shape", x), np.array(axis), axis=0), [0])


def _split_heads(b: Builder, x: SSAValue) -> SSAValue:
    shape = b("Concat", _dim(b, x, 0), _dim(b, x, 1), np.array([2]), np.array([4]), axis=0)
    return b("Transpose", b("Reshape", x, shape), perm=[0, 2, 1, 3])


def _flat(b: Builder, x: SSAValue) -> SSAValue:
    rows = b("Mul", _dim(b, x, 0), _dim(b, x, 1))
    return b("Reshape", x, b("Concat", rows, np.array([8]), axis=0))


def _halves(b: Builder, x: SSAValue) -> SSAValue:
    half = b("Div", b("Gather", b("Shape", x), np.array([2]), axis=0), np.array([2]))
    return b("Reshape", x, b("Concat", b("Slice", b("Shape", x), [0], [2]), np.array([-1]), half, axis=0))


@pytest.mark.parametrize(
    ("body", "shape", "dims"),
    [
        (_split_heads, [0, 0, 2, 4], ("n", 2, "s", 4)),
        (_flat, [-1, 8], ("", 8)),
        (_halves, [0, 0, 2, 4], ("n", "s", 2, 4)),
    ],
)
def test_shape_subgraphs_with_symbols_become_constants(body: Body, shape: list[int], dims: tuple[Any, ...]) -> None:
    graph = _canonical(build(("n", "s", 8), body))
    assert "Shape" not in ops(graph)
    assert _shape_constant(graph) == shape
    found = dims_of(graph.outputs[0].type)
    assert found is not None
    assert all(f == d for f, d in zip(found, dims, strict=True) if d != "")


def test_shape_subgraphs_of_pinned_inputs_fold_away() -> None:
    assert ops(_canonical(build((2, 3, 8), _split_heads))) == ["Reshape", "Transpose"]
    assert ops(_canonical(build((2, 3, 8), lambda b, x: b("Add", x, b("Cast", b("Size", x), to=1))))) == ["Add"]


def test_expand_by_a_choice_of_ones() -> None:
    """PyTorch's x.expand(-1, -1): the shape is chosen element by element."""

    def body(b: Builder, x: SSAValue) -> SSAValue:
        wanted = np.array([-1, 4])
        ones = b("ConstantOfShape", np.array([2]), value=np.array([1]))
        return b("Expand", x, b("Where", b("Equal", wanted, np.array([-1, -1])), ones, wanted))

    assert ops(_canonical(build(("n", 4), body))) == []


def test_range_and_slice_know_their_dims() -> None:
    def body(b: Builder, x: SSAValue) -> list[SSAValue]:
        length = b("Gather", b("Shape", x), np.array(1), axis=0)
        positions = b("Range", np.array(0), length, np.array(1))
        table = b("Slice", b.c(1, 512, 8), [0], b("Unsqueeze", length, [0]), [1])
        return [positions, b("Add", x, table)]

    graph = _canonical(build(("n", "s", 8), body))
    assert [dims_of(v.type) for v in graph.outputs] == [("s",), ("n", "s", 8)]


def test_constants_fold() -> None:
    def body(b: Builder, x: SSAValue) -> SSAValue:
        quantized = b("Cast", np.arange(-60, 60, dtype=np.int8).reshape(12, 10), to=1)
        return b("MatMul", x, b("Transpose", b("Mul", quantized, b.c(12, 1)), perm=[1, 0]))

    graph = _canonical(build((3, 10), body))
    assert ops(graph) == ["MatMul"]
    (weight,) = [op for op in graph.ops() if isinstance(op, WeightOp)]
    assert graph.weights.get(weight.weight).shape == (10, 12)


@pytest.mark.parametrize("dtype", [np.int8, ml_dtypes.int4, ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16], ids=str)
def test_constants_of_any_type_fold_to_floats(dtype: type) -> None:
    """Those that numpy does not have too; a result of such a type stays: ONNX Runtime does not give it to numpy."""
    numbers = np.arange(-8, 8).reshape(4, 4).astype(dtype)

    def body(b: Builder, x: SSAValue) -> Any:
        name = "Cast" if dtype is ml_dtypes.bfloat16 else "DequantizeLinear"
        wide = b("Cast", numbers, to=1) if name == "Cast" else b(name, numbers, np.float32(0.5))
        narrow = b("Cast", np.ones(4, np.float32), to=onnx_package.TensorProto.FLOAT8E5M2)
        return [b("MatMul", x, wide), b("Cast", narrow, to=1)]

    graph = _canonical(build((3, 4), body))
    assert ops(graph) == ["Cast", "MatMul", "Cast"]
    scale = 1.0 if dtype is ml_dtypes.bfloat16 else 0.5
    (product,) = [op for op in graph.ops() if op.name == "onnx.MatMul"]
    np.testing.assert_array_equal(graph.constant(product.operands[1]), scale * numbers.astype(np.float32))


def test_folding_does_not_make_a_small_model_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "ALWAYS", 1000)
    graph = build((100, 100), lambda b, x: b("Add", x, b("Expand", np.float32([[2]]), np.array([100, 100]))))
    Canonicalize().run(graph)
    assert "Expand" in ops(graph)


def test_a_pool_of_a_constant_that_is_smaller_than_its_window_stays() -> None:
    """ONNX's inference gives it a place, evaluation none."""
    graph = build(
        (2, 4), lambda b, x: [x, b("MaxPool", b.c(1, 2, 1, 4), kernel_shape=[3, 1], strides=[2, 1], ceil_mode=1)]
    )
    assert ops(_canonical(graph)) == ["MaxPool"]


def test_constant_of_shape_takes_no_memory() -> None:
    def body(b: Builder, x: SSAValue) -> SSAValue:
        return b("MatMul", x, b("ConstantOfShape", np.array([4, 30]), value=np.float32([0.5])))

    graph = _canonical(build((2, 4), body))
    (weight,) = [op for op in graph.ops() if isinstance(op, WeightOp)]
    assert graph.weights.get(weight.weight).strides == (0, 0)


def test_constant_of_an_empty_shape_is_a_scalar() -> None:
    def body(b: Builder, x: SSAValue) -> list[SSAValue]:
        default = b("ConstantOfShape", np.array([], np.int64))
        filled = b("ConstantOfShape", np.array([], np.int64), value=np.array([7]))
        return [b("Add", x, default), filled]

    graph = _canonical(build((2, 4), body))
    assert "ConstantOfShape" not in ops(graph)
    constant = graph.constant(graph.outputs[1])
    assert constant is not None
    assert constant.shape == ()
    assert constant == 7


def test_common_and_dead_code() -> None:
    def body(b: Builder, x: SSAValue) -> SSAValue:
        w = np.random.default_rng(5).standard_normal((8, 9), np.float32)
        first, second, copy = b("MatMul", x, w), b("MatMul", x, w), b("MatMul", x, w.copy())
        b("Exp", b("Neg", x))  # dead
        return b("Add", b("Relu", first), b("Add", b("Relu", second), b("Sigmoid", copy)))

    graph = _canonical(build((3, 8), body))
    assert sorted(ops(graph)) == ["Add", "Add", "MatMul", "Relu", "Sigmoid"]
    assert sum(isinstance(op, WeightOp) for op in graph.ops()) == 1


def test_random_ops_are_not_merged() -> None:
    def body(b: Builder, x: SSAValue) -> list[SSAValue]:
        return [b("RandomNormalLike", x), b("RandomNormalLike", x)]

    graph = build((3,), body)
    Canonicalize().run(graph)
    assert ops(graph) == ["RandomNormalLike"] * 2


def test_layer_norm_and_gelu_of_an_exported_block() -> None:
    def body(b: Builder, x: SSAValue) -> SSAValue:
        d = b("Sub", x, b("ReduceMean", x, [-1]))
        deviation = b(
            "Sqrt",
            b("Add", b("ReduceMean", b("Pow", b("Sub", x, b("ReduceMean", x, [-1])), 2.0), [-1]), 1e-5),
        )
        normed = b("Add", b("Mul", b("Div", d, deviation), b.c(8)), b.c(8))
        hidden = b("Gemm", b("Reshape", normed, [-1, 8]), b.c(16, 8), b.c(16), transB=1)
        hidden = b("Reshape", hidden, b("Concat", _dim(b, x, 0), _dim(b, x, 1), np.array([16]), axis=0))
        erf = b("Erf", b("Div", hidden, float(np.sqrt(2))))
        return b("Mul", b("Mul", hidden, b("Add", erf, 1.0)), 0.5)

    graph = _canonical(build(("n", "s", 8), body))
    assert ops(graph) == ["LayerNormalization", "MatMul", "Add", "Gelu"]


def test_types_are_inferred_again() -> None:
    """A shape computed in a branch that is constant only after folding."""
    nodes = [
        node("Concat", ["one", "minus"], ["shape"], axis=0),
        node("Abs", ["shape"], ["positive"]),
        node("Tile", ["x", "positive"], ["y"]),
    ]
    weights = {"one": np.array([1]), "minus": np.array([-2])}
    proto = model(nodes, [value("x", [3, 4])], [value("y", ["a", "b"])], weights)
    graph = import_model(proto)
    Canonicalize().run(graph)
    assert shape_of(graph.outputs[0].type) == (3, 8)


def test_before_and_after_as_text() -> None:
    graph = build((2, 3), lambda b, x: b("Mul", b("Add", b("Identity", x), -0.0), b("Sigmoid", b("Neg", b("Neg", x)))))
    Canonicalize().run(graph)
    expected = """builtin.module {
  func.func @main(%x: tensor<2x3xf32> {onnx.name = "x"}) -> (tensor<2x3xf32> {onnx.name = "y0"}) {
    %0 = "onnx.Sigmoid"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %1 = "onnx.Mul"(%x, %0) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    func.return %1 : tensor<2x3xf32>
  }
}
"""
    assert graph.text() == expected


def test_nested_ifs_with_constant_conditions() -> None:
    """Branches that are not taken vanish, those inside of them too."""
    import onnx.helper as helper

    def branch(nodes: list[Any]) -> Any:
        return helper.make_graph(nodes, "b", [], [value("o", [3])])

    inner = node(
        "If",
        ["no"],
        ["o"],
        then_branch=branch([node("Exp", ["x"], ["o"])]),
        else_branch=branch([node("Abs", ["x"], ["o"])]),
    )
    outer = node("If", ["yes"], ["y"], then_branch=branch([inner]), else_branch=branch([inner]))
    weights = {"yes": np.array(True), "no": np.array(False)}
    proto = model([outer], [value("x", [3])], [value("y", [3])], weights)
    graph = import_model(proto)
    Canonicalize().run(graph)
    assert ops(graph) == ["Abs"]


def test_fold_computes_constants_and_leaves_the_rest() -> None:
    """PyTorch's F.pad: pads are computed from a constant, and Pad reads them at compile time."""

    def body(b: Builder, x: SSAValue) -> Any:
        pairs = b(
            "Reshape",
            b("Concat", np.array([1, 2]), b("ConstantOfShape", np.array([2]), value=np.array([0])), axis=0),
            np.array([2, 2]),
        )
        flipped = b("Slice", pairs, np.array([-1]), np.array([-9]), np.array([0]), np.array([-1]))
        pads = b("Cast", b("Reshape", b("Transpose", flipped, perm=[1, 0]), np.array([-1])), to=7)
        return b("Identity", b("Pad", x, pads))

    before = build((2, 3), body)
    graph = before.clone()
    Fold().run(graph)
    assert ops(graph) == ["Pad", "Identity"]
    assert_same_numbers(before, graph)


def test_expand_functions() -> None:
    before = build((2, 3), lambda b, x: b("Mul", b("Celu", x), b("Shrink", x, lambd=0.3)))
    graph = before.clone()
    record = ExpandFunctions(ops=("Celu", "Shrink")).run(graph)
    assert not {"Celu", "Shrink"} & set(ops(graph))
    assert record.fired["Celu => its definition"] == 1
    assert_same_numbers(before, graph)
    Canonicalize().run(graph)
    assert_same_numbers(before, graph)


def test_expand_functions_refuses_what_has_no_definition() -> None:
    with pytest.raises(UsageError, match="no definition of 'Conv'"):
        ExpandFunctions(ops=("Conv",)).run(build((3,), lambda b, x: b("Relu", x)))


def test_the_passes_have_text_forms() -> None:
    text = "canonicalize,expand-functions{ops=Celu,Shrink}"
    assert Pipeline.parse(text).passes == (Canonicalize(), ExpandFunctions(ops=("Celu", "Shrink")))


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1"])
def test_nets(name: str) -> None:
    path = Path(onnx_package.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    graph = import_model(path)
    Canonicalize().run(graph)
    assert not {"BatchNormalization", "Dropout", "ConstantOfShape", "Gemm", "Flatten"} & set(ops(graph))
    x = np.random.default_rng(0).standard_normal([1, 3, 224, 224], np.float32)
    feeds = {graph.input_names[0]: x}
    # folded batch norms round differently: 1e-4 of outputs that are probabilities of 0.001
    assert_close(run(export_model(graph), feeds), run(str(path), feeds), 1e-4)
