"""`#dsc.sparse`: what the type of a weight says of its contents stays with it on every way a graph takes."""

from __future__ import annotations

import numpy as np
import onnx.checker
import onnx.numpy_helper
import pytest
from xdsl.dialects.builtin import IntAttr, StringAttr, TensorType, f32

from dsc.errors import VerificationError
from dsc.exchange import export_model
from dsc.ir import DYNAMIC, Graph, SparseAttr, WeightOp, encoding_of, tensor
from dsc.ir import onnx as ops
from dsc.passes.base import PassRecord
from dsc.passes.canonicalize.cse import eliminate_common
from dsc.sparsity import Pattern

PATTERN = SparseAttr.of(Pattern.parse("2:4"), 1, 0.5)


def sparse(graph: Graph) -> WeightOp:
    """The weight of `product` under a type that says where its zeros are."""
    data = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    data.reshape(8, 12)[:, ::2] = 0
    return WeightOp(graph.weights.add(data, "w"), TensorType(f32, (12, 8), PATTERN))


def product() -> Graph:
    graph = Graph.build([("x", tensor("float32", (-1, 12), ["n", ""]))])
    weight = sparse(graph)
    matmul = ops.MatMul.make(graph.inputs[0], weight.out)
    graph.body.add_ops([weight, matmul])
    graph.set_outputs([("y", matmul.out)])
    return graph


def weight_type(graph: Graph) -> TensorType:
    return next(op.out.type for op in graph.ops() if isinstance(op, WeightOp))


def test_it_is_printed_parsed_and_cloned() -> None:
    graph = product()
    graph.verify()
    assert 'tensor<12x8xf32, #dsc.sparse<"2:4", axis = 1, kept = 128>>' in graph.text()
    again = Graph.parse(graph.text(), graph.weights)
    again.verify()
    assert again.text() == graph.text()
    for each in (again, graph.clone()):
        assert encoding_of(weight_type(each)) == PATTERN


def test_results_and_data_are_as_without_it() -> None:
    graph = product()
    assert graph.outputs[0].type == tensor("float32", (-1, 8), ["n", ""])
    constant = graph.constant(next(iter(graph.ops())).results[0])
    assert constant is not None
    assert constant.shape == (12, 8)


def test_it_is_exported_as_a_plain_tensor() -> None:
    graph = product()
    model = export_model(graph)
    onnx.checker.check_model(model, full_check=True)
    (weight,) = model.graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), graph.weights.get("w"))
    assert not model.graph.sparse_initializer


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (PATTERN, "only a tensor of static shape has a sparsity pattern"),
        (StringAttr("2:4"), "has an encoding that is none of the dsc dialect"),
    ],
)
def test_the_verifier_refuses_what_does_not_go_with_the_shape(encoding: object, message: str) -> None:
    graph = Graph.build([("x", TensorType(f32, (DYNAMIC, 8), encoding))])  # type: ignore[arg-type]
    graph.set_outputs([("y", graph.inputs[0])])
    with pytest.raises(VerificationError, match=message):
        graph.verify()


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (SparseAttr(StringAttr("4:2"), IntAttr(0), IntAttr(1)), "has no such blocks"),
        (SparseAttr(StringAttr("4x1"), IntAttr(2), IntAttr(1)), "no such axis"),
        (SparseAttr(StringAttr("4x1"), IntAttr(0), IntAttr(257)), "more is kept than there is"),
    ],
)
def test_the_verifier_refuses_patterns_that_cannot_be(encoding: SparseAttr, message: str) -> None:
    graph = Graph.build([("x", TensorType(f32, (8, 8), encoding))])
    graph.set_outputs([("y", graph.inputs[0])])
    with pytest.raises(VerificationError, match=message):
        graph.verify()


def test_names_of_dims_are_as_many_as_dims() -> None:
    named = tensor("float32", (-1, 8), ["n", ""])
    graph = Graph.build([("x", TensorType(f32, (8,), named.encoding))])
    graph.set_outputs([("y", graph.inputs[0])])
    with pytest.raises(VerificationError, match="has 1 dims, not 2"):
        graph.verify()


def test_a_weight_is_not_replaced_by_itself_under_another_type() -> None:
    graph = product()
    plain = graph.weight_op("w")
    graph.body.insert_op_before(plain, graph.body.first_op)  # type: ignore[arg-type]
    matmul = ops.MatMul.make(graph.inputs[0], plain.out)
    graph.body.insert_op_after(matmul, plain)
    graph.set_outputs([("y", graph.outputs[0]), ("z", matmul.out)])
    eliminate_common(graph, PassRecord("cse"))
    assert len([op for op in graph.ops() if isinstance(op, WeightOp)]) == 2
