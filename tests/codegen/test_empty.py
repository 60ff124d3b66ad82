"""Tensors without elements: every kind of op gives the right empty or neutral result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import dsc
from dsc.lower.registry import RULES
from tests.exchange.models import model, node, value

RNG = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[np.ndarray], dict[str, Any]]] = [
    ("Softmax", [_f(2, 0)], {}),
    ("LayerNormalization", [_f(2, 0), _f(0)], {}),
    ("LayerNormalization", [_f(2, 0, 3), _f(3)], {}),
    ("GroupNormalization", [_f(0, 4, 4), _f(4), _f(4)], {"num_groups": 2}),
    ("ReduceMean", [_f(2, 0, 3), _i(1)], {}),
    ("ReduceMean", [_f(2, 0, 3), _i(0)], {}),
    ("ReduceSum", [_f(2, 0, 3), _i(1)], {"keepdims": 0}),
    ("ReduceProd", [_f(0), _i(0)], {}),
    ("Add", [_i(), _i()], {}),
    ("Tile", [_f(2, 0), _i(2, 3)], {}),
    ("Tile", [_f(2, 3), _i(0, 2)], {}),
    ("Conv", [_f(0, 3, 5, 5), _f(4, 3, 3, 3)], {}),
    ("MaxPool", [_f(0, 3, 5, 5)], {"kernel_shape": [2, 2]}),
    ("GlobalAveragePool", [_f(1, 3, 0, 5)], {}),
    ("Concat", [_f(2, 0), _f(2, 3)], {"axis": 1}),
    ("Split", [_f(2, 4), _i(3, 0, 1)], {"axis": 1}),
    ("Gather", [_f(2, 3), _i()], {}),
    ("ScatterElements", [_f(2, 3), np.zeros((0, 3), np.int64), _f(0, 3)], {}),
    ("ScatterND", [_f(2, 3), np.zeros((0, 1), np.int64), _f(0, 3)], {}),
    ("Pad", [_f(2, 0), _i(0, 1, 0, 2)], {}),
    ("Transpose", [_f(2, 0, 3)], {"perm": [2, 0, 1]}),
    ("MatMul", [_f(0, 2, 3), _f(3, 2)], {}),
    ("Expand", [_f(2, 1), _i(2, 0)], {}),
    ("TopK", [_f(2, 3), _i(0)], {}),
    ("Reshape", [_f(2, 0, 3), _i(0, 6)], {"allowzero": 1}),
    ("Reshape", [_f(2, 0, 3), _i(0, 0)], {"allowzero": 1}),
    ("Reshape", [_f(2, 0), _i(0, 0, 1)], {}),
    ("Unsqueeze", [_f(2, 0), _i(0)], {}),
    ("Squeeze", [_f(1, 0), _i(0)], {}),
    ("Slice", [_f(4, 3), _i(), _i(), _i()], {}),
    ("Slice", [_f(4), _i(3), _i(0)], {}),
    ("CumSum", [_f(2, 0), np.array(1)], {}),
    ("ArgMax", [_f(2, 0)], {"axis": 0}),
]
OUTPUTS = {"Split": 3, "TopK": 2}


def _model(op: str, arrays: Sequence[np.ndarray], attributes: dict[str, Any]) -> onnx.ModelProto:
    """One node; what lowerings read at compile time is constant, what else has no elements as well."""
    constants = RULES[f"onnx.{op}"].value_operands if f"onnx.{op}" in RULES else frozenset()
    names = [f"x{k}" for k in range(len(arrays))]
    outputs = [f"y{k}" for k in range(OUTPUTS.get(op, 1))]
    weights = {n: a for k, (n, a) in enumerate(zip(names, arrays, strict=True)) if k and (k in constants or not a.size)}
    inputs = [value(n, a.shape, a.dtype) for n, a in zip(names, arrays, strict=True) if n not in weights]
    declared = [onnx.ValueInfoProto(name=n) for n in outputs]
    return model([node(op, names, outputs, **attributes)], inputs, declared, weights, opset=23)


@pytest.mark.parametrize("opt_level", [0, 2])
@pytest.mark.parametrize(("op", "arrays", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_without_elements(op: str, arrays: list[np.ndarray], attributes: dict[str, Any], opt_level: int) -> None:
    proto = _model(op, arrays, attributes)
    feeds = {v.name: a for k, a in enumerate(arrays) for v in proto.graph.input if v.name == f"x{k}"}
    # numpy cannot make out the -1 of a Reshape without elements, as the definition of GroupNormalization has it
    expected = [arrays[0]] if op == "GroupNormalization" else ReferenceEvaluator(proto).run(None, feeds)
    found = list(dsc.compile(proto, opt_level=opt_level, threads=1).run(feeds).values())
    for result, reference in zip(found, expected, strict=True):
        assert (result.dtype, result.shape) == (reference.dtype, reference.shape)
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)


def test_slice_of_a_shape_without_limits() -> None:
    nodes = [node("Shape", ["x"], ["s"]), node("Slice", ["s", "e", "e", "e"], ["y"])]
    proto = model(nodes, [value("x", ["n", 3])], [value("y", None, np.int64)], {"e": _i()})
    for opt_level in (0, 2):
        np.testing.assert_array_equal(dsc.compile(proto, opt_level=opt_level).run({"x": _f(2, 3)})["y"], [2, 3])
