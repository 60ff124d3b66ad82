"""Scalars as inputs, outputs, constants and all that lies between."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import dsc
from tests.exchange.models import model, node, value

S, T, V = np.float32(1.5), np.float32(-2.25), np.float32([3, 1, 2])


def _check(nodes: list[onnx.NodeProto], feeds: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> None:
    """All results at all levels, by the specification's reference."""
    arrays = {n: np.asarray(a) for n, a in feeds.items()}
    inputs = [value(n, a.shape, a.dtype) for n, a in arrays.items()]
    names = [n for made in nodes for n in made.output]
    outputs = [onnx.ValueInfoProto(name=n) for n in names]
    proto = model(nodes, inputs, outputs, {n: np.asarray(a) for n, a in weights.items()}, opset=21)
    expected = ReferenceEvaluator(proto).run(None, arrays)
    for opt_level in (0, 2):
        found = dsc.compile(proto, opt_level=opt_level, threads=1).run(arrays)
        for name, reference in zip(names, map(np.asarray, expected), strict=True):
            assert (found[name].dtype, found[name].shape) == (reference.dtype, reference.shape), name
            np.testing.assert_allclose(found[name], reference, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("operand", ["constant", "of a shape", "input"])
def test_where(operand: str) -> None:
    """Where(true, 3, 4), known at compile time, partly, or not at all."""
    scalars = {"c": np.bool_(True), "a": np.int64(3), "b": np.int64(4)}
    choose = [node("Where", ["c", "a", "b"], ["w"]), node("Mul", ["w", "w"], ["y"])]
    if operand == "constant":
        _check(choose, {"x": V}, scalars)
    elif operand == "input":
        _check(choose, scalars, {})
    else:
        shape = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "i"], ["a"]), node("Equal", ["a", "b"], ["c"])]
        _check([*shape, *choose], {"x": V}, {"i": np.int64(0), "b": np.int64(3)})


def test_elementwise() -> None:
    unary = ["Abs", "Relu", "Exp", "Sigmoid", "Erf", "Gelu", "HardSwish", "Elu", "Floor", "IsNaN", "Sinh", "Identity"]
    binary = ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Mean", "Less", "Equal", "PRelu"]
    nodes = [node(op, ["s"], [op]) for op in unary] + [node(op, ["s", "t"], [op]) for op in binary]
    nodes += [node("Clip", ["s", "t", "s"], ["clip"]), node("Cast", ["s"], ["cast"], to=onnx.TensorProto.INT64)]
    _check(nodes, {"s": S, "t": T}, {})


def test_reductions() -> None:
    ops = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSumSquare"]
    nodes = [node(op, ["v"], [f"of_vector_{op}"], keepdims=0) for op in ops]
    nodes += [node(op, ["s"], [f"of_scalar_{op}"]) for op in ops]
    nodes += [node("ArgMax", ["v"], ["arg"], keepdims=0), node("MatMul", ["v", "v"], ["dot"])]
    _check(nodes, {"v": V, "s": S}, {})


def test_movement() -> None:
    nodes = [
        node("Reshape", ["s", "one"], ["vector"]),
        node("Reshape", ["vector", "none"], ["scalar"]),
        node("Squeeze", ["vector"], ["squeezed"]),
        node("Unsqueeze", ["s", "zero_one"], ["matrix"]),
        node("Expand", ["s", "two_three"], ["expanded"]),
        node("Gather", ["v", "i"], ["gathered"]),
        node("Concat", ["vector", "v"], ["joined"], axis=0),
        node("Flatten", ["s"], ["flat"], axis=0),
        node("Transpose", ["s"], ["turned"]),
        node("Shape", ["s"], ["shape"]),
        node("Size", ["s"], ["size"]),
        node("ConstantOfShape", ["none"], ["filled"]),
    ]
    shapes = {"one": [1], "none": [], "zero_one": [0, 1], "two_three": [2, 3]}
    weights = {n: np.array(a, np.int64) for n, a in shapes.items()}
    _check(nodes, {"s": S, "v": V, "i": np.int64(1)}, weights)
