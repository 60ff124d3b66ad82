"""Ops that hand on what they are given, where no pass took them out."""

from __future__ import annotations

import numpy as np
import pytest

import dsc
from dsc.ir import Graph, onnx, tensor


@pytest.mark.parametrize("op", ["Cast", "CastLike", "Sum", "Expand"])
def test_a_result_that_is_the_operand(op: str) -> None:
    graph = Graph.build([("x", tensor("float32", (2, 3)))])
    (x,) = graph.inputs
    shape = graph.make_constant(np.array([2, 3]))
    made = {
        "Cast": lambda: onnx.Cast.make(x, to=1),
        "CastLike": lambda: onnx.CastLike.make(x, x),
        "Sum": lambda: onnx.Sum.make(x),
        "Expand": lambda: onnx.Expand.make(x, shape.results[0]),
    }[op]()
    if op == "Expand":
        graph.body.add_op(shape)
    graph.body.add_op(made)
    graph.set_outputs([("y", made.results[0])])
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    result = dsc.compile(graph, opt_level=0, threads=1).run({"x": data})["y"]
    np.testing.assert_array_equal(result, data)
    result[0, 0] = 7
    assert data[0, 0] == 0
