"""The walk that code generation, the list of unsupported ops and size requirements share."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.ir import Graph, onnx, tensor
from dsc.lower import UnsupportedOpError
from dsc.lower.exprs import same
from dsc.lower.walk import Evaluated, Lowered, Walk


def graph_of(*inputs: tuple[str, list[int], list[str]]) -> Graph:
    return Graph.build([(name, tensor("float32", shape, names)) for name, shape, names in inputs])


def test_variables_are_those_of_names_and_each_has_a_place() -> None:
    graph = graph_of(("x", [-1, 3, -1], ["n", "", ""]), ("y", [-1, -1], ["m", "n"]))
    walk = Walk(graph)
    assert list(walk.symbols) == ["n", "x.2", "m"]
    places = {variable.name: place for variable, place in walk.places.items()}
    assert places == {"n": (0, 0), "x_2": (0, 2), "m": (1, 0)}
    assert walk.sizes(graph.inputs[1]) == [walk.symbols["m"], walk.symbols["n"]]


def test_shape_values_are_evaluated_and_dims_follow_from_them() -> None:
    graph = graph_of(("x", [-1, 4], ["n", ""]))
    (x,) = graph.inputs
    walk = Walk(graph)
    shape = onnx.Shape.make(x)
    assert walk.lower(shape) == Evaluated([])
    assert walk.sizes(shape.out) == [2]
    assert list(walk.known[shape.out]) == [walk.symbols["n"], 4]
    twice = onnx.Concat.make(x, x, axis=0)
    step = walk.lower(twice)
    assert isinstance(step, Lowered)
    assert step.workload.op is twice
    rows, columns = walk.sizes(twice.out) or []
    assert same(rows, 2 * walk.symbols["n"])
    assert columns == 4


def test_weights_and_constants_are_no_code() -> None:
    graph = graph_of(("x", [2], [""]))
    for array in (np.zeros(2, np.float32), np.zeros(100, np.float32)):
        assert Walk(graph).lower(graph.make_constant(array)) == Evaluated([])


def test_requirements_come_with_the_op_that_has_them() -> None:
    graph = graph_of(("x", [-1], ["n"]), ("y", [-1], ["m"]))
    walk = Walk(graph)
    assert not walk.lower(onnx.Relu.make(graph.inputs[0])).requirements
    assert len(walk.lower(onnx.Add.make(*graph.inputs)).requirements) == 1


def test_after_an_op_that_cannot_be_lowered_types_say_what_its_results_are() -> None:
    graph = graph_of(("x", [4], [""]))
    walk = Walk(graph)
    some = onnx.NonZero.make(graph.inputs[0])
    with pytest.raises(UnsupportedOpError, match="no lowering"):
        walk.lower(some)
    rank, count = walk.sizes(some.out) or []
    assert rank == 1
    assert count in walk.symbols.values()
    assert count not in walk.places
