"""Integers wrap, truncate and saturate as ONNX says, at run time and in constants, at the ends of their ranges too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.meaning.nodes import WAYS, Node, wrong

SIGNED = [np.int8, np.int32, np.int64]
UNSIGNED = [np.uint8, np.uint16, np.uint32, np.uint64]
RNG = np.random.default_rng(20261125)
CODES = {np.dtype(t): getattr(TensorProto, np.dtype(t).name.upper()) for t in (*SIGNED, *UNSIGNED)}


def _extremes(dtype: Any) -> np.ndarray:
    """The ends of the range and what is near them, and numbers from all over it."""
    info = np.iinfo(dtype)
    ends = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, info.max // 2 + 1]
    return np.concatenate([np.array(ends, dtype), RNG.integers(info.min, info.max, 12, dtype, endpoint=True)])[None]


def _binary(dtype: Any) -> list[Node]:
    a = _extremes(dtype)
    b = RNG.permutation(a, 1)
    with np.errstate(all="ignore"):
        nodes = [Node(op, [a, b], [f(a, b)]) for op, f in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply))]
        nodes += [Node("Max", [a, b], [np.maximum(a, b)]), Node("Min", [a, b], [np.minimum(a, b)])]
        nodes.append(Node("Abs", [a], [np.abs(a)]))
        if dtype in SIGNED:
            nodes += [Node("Neg", [a], [np.negative(a)]), Node("Sign", [a], [np.sign(a)])]
        low, high = (np.array(v, dtype) for v in (np.iinfo(dtype).max - 3, np.iinfo(dtype).max))
        nodes.append(Node("Clip", [a, low, high], [np.clip(a, low, high)]))
        nodes.append(Node("Clip", [a, high, low], [np.full_like(a, low)]))  # min above max: all are max
        nodes += [Node("Cast", [a], [a.astype(to)], {"to": code}) for to, code in CODES.items()]
        total = np.cumsum(a, 1, dtype)
        nodes.append(Node("CumSum", [a, np.array(1, np.int64)], [total]) if np.iinfo(dtype).bits > 16 else nodes[0])
    return nodes


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_arithmetic_wraps(way: dict[str, Any]) -> None:
    assert wrong([node for dtype in (*SIGNED, *UNSIGNED) for node in _binary(dtype)], **way) == {}


def _divisions(dtype: Any) -> list[Node]:
    """Truncated towards zero; ONNX leaves a divisor of 0 open, numpy and we give 0."""
    a = np.repeat(_extremes(dtype), 6, 1)
    b = np.resize(np.array([1, 2, 3, 7, np.iinfo(dtype).max, 0], dtype), a.shape)
    if dtype in SIGNED:
        b = np.resize(np.array([1, -1, 3, -7, np.iinfo(dtype).min, 0], dtype), a.shape)
    with np.errstate(all="ignore"):
        floor, rest = np.floor_divide(a, b), np.mod(a, b)
        truncated = floor + ((rest != 0) & ((a < 0) != (b < 0))).astype(dtype)
        return [
            Node("Div", [a, b], [truncated]),
            Node("Mod", [a, b], [rest]),
            Node("Mod", [a, b], [np.fmod(a, b)], {"fmod": 1}),
        ]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_division_truncates_and_never_traps(way: dict[str, Any]) -> None:
    assert wrong([node for dtype in (*SIGNED, *UNSIGNED) for node in _divisions(dtype)], **way) == {}


def test_division_by_constants() -> None:
    a = _extremes(np.int32)
    nodes = [Node("Cast", [a], [a.astype(np.int64)], {"to": TensorProto.INT64})]
    nodes += [Node("Div", [a, np.array([[d]], np.int32)], [_truncated(a, d)]) for d in (-1, -3, 1, 5)]
    assert wrong(nodes) == {}


def _truncated(a: np.ndarray, d: int) -> np.ndarray:
    return np.trunc(a.astype(np.float64) / d).astype(np.int64).astype(np.int32)


def _shifts(dtype: Any) -> list[Node]:
    bits = np.iinfo(dtype).bits
    a = _extremes(dtype)
    b = np.resize(np.array([0, 1, bits - 1, bits, bits + 1, np.iinfo(dtype).max], dtype), a.shape)
    inside = b < bits
    counts = np.where(inside, b, 0).astype(dtype)
    left, right = (np.where(inside, shift(a, counts), 0).astype(dtype) for shift in (np.left_shift, np.right_shift))
    return [
        Node("BitShift", [a, b], [left], {"direction": "LEFT"}),
        Node("BitShift", [a, b], [right], {"direction": "RIGHT"}),
    ]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_shifts_by_the_width_and_more_leave_nothing(way: dict[str, Any]) -> None:
    assert wrong([node for dtype in UNSIGNED for node in _shifts(dtype)], **way) == {}


def _powers() -> list[Node]:
    nodes = []
    for dtype in (np.int32, np.int64):
        base = np.array([-3, -2, -1, 0, 1, 2, 3, 5, 7, 10], dtype)
        exponent = np.array([39, 5, 31, 0, 63, 62, 39, 27, 3, 0], dtype)
        with np.errstate(all="ignore"):
            nodes.append(Node("Pow", [base, exponent], [np.power(base, exponent)]))
            nodes += [
                Node("Pow", [base, np.array([[k]], dtype)], [np.power(base, dtype(k))[None]])
                for k in (0, 1, 2, 3, 13, 39)
            ]
        # of 1 / x ** n the whole part
        nodes.append(Node("Pow", [base, np.array(-3, dtype)], [np.array([0, 0, -1, 0, 1, 0, 0, 0, 0, 0], dtype)]))
        nodes.append(Node("Pow", [base, np.array(0.5, np.float32)], [np.sqrt(np.maximum(base, 0)).astype(dtype)]))
        nodes[-1].operands = [np.maximum(base, 0), np.array(0.5, np.float32)]
    return nodes


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_powers_are_exact(way: dict[str, Any]) -> None:
    assert wrong(_powers(), **way) == {}


def _casts() -> list[Node]:
    """Where a float is out of range ONNX leaves it open: numpy's on x86 is taken, everywhere the same."""
    for_all = np.array([0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 100.7, -100.7], np.float32)
    nodes = []
    for source in (np.float32, np.float64, np.float16):
        values = for_all.astype(source)
        for dtype, code in CODES.items():
            x = np.abs(values) if dtype == np.uint64 else values
            wide = np.int64 if dtype.itemsize > 2 else np.int32
            nodes.append(Node("Cast", [x], [x.astype(wide).astype(dtype)], {"to": code}))
        special = np.array([np.inf, -np.inf, 0, -0.0, 1e-7], source)
        nodes.append(Node("Cast", [special], [special != 0], {"to": TensorProto.BOOL}))
    wild = np.array([300.0, -1.0, np.nan, 1e30, -129.0, 255.5], np.float32)
    nodes.append(Node("Cast", [wild], [np.array([44, 255, 0, 0, 127, 255], np.uint8)], {"to": TensorProto.UINT8}))
    nodes.append(Node("Cast", [wild], [np.array([44, -1, 0, 0, 127, -1], np.int8)], {"to": TensorProto.INT8}))
    low = np.iinfo(np.int32).min
    nodes.append(Node("Cast", [wild], [np.array([300, -1, low, low, -129, 255], np.int32)], {"to": TensorProto.INT32}))
    doubles = np.array([65520.0, 1 / 3, 1e-8, np.nan, -np.inf, 2049.0, 2051.0])
    with np.errstate(over="ignore"):
        nodes.append(Node("Cast", [doubles], [doubles.astype(np.float16)], {"to": TensorProto.FLOAT16}))
        nodes.append(Node("Cast", [doubles], [doubles.astype(np.float32)], {"to": TensorProto.FLOAT}))
    flags = np.array([True, False, True])
    nodes += [Node("Cast", [flags], [flags.astype(t)], {"to": code}) for t, code in CODES.items()]
    return nodes


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_casts(way: dict[str, Any]) -> None:
    assert wrong(_casts(), **way) == {}


def _reductions() -> list[Node]:
    nodes = []
    for dtype in (np.int32, np.uint32, np.int64, np.uint64):
        x = np.concatenate([_extremes(dtype)] * 2)
        axes = np.array([1], np.int64)
        with np.errstate(all="ignore"):
            nodes.append(Node("ReduceSum", [x, axes], [np.sum(x, 1, dtype, keepdims=True)]))
            nodes.append(Node("ReduceProd", [x | 1, axes], [np.prod(x | 1, 1, dtype, keepdims=True)]))
        nodes.append(Node("ReduceMax", [x, axes], [np.max(x, 1, keepdims=True)]))
        nodes.append(Node("ReduceMin", [x, axes], [np.min(x, 1, keepdims=True)]))
    mean = np.array([[2**31 - 1, 2**31 - 1, 2**31 - 3], [-7, 0, 0]], np.int32)
    nodes.append(Node("ReduceMean", [mean, np.array([1], np.int64)], [np.array([[2**31 - 2], [-2]], np.int32)]))
    return nodes


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_reductions(way: dict[str, Any]) -> None:
    assert wrong(_reductions(), **way) == {}


LOGIC = {
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Equal": np.equal,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_bools(way: dict[str, Any]) -> None:
    a, b = np.array([True, True, False, False] * 9), np.array([True, False, True, False] * 9)
    nodes = [Node(op, [a, b], [f(a, b)]) for op, f in LOGIC.items()]
    nodes += [Node("Not", [a], [~a]), Node("Where", [a, b, ~b], [np.where(a, b, ~b)])]
    nodes += [Node("ReduceMax", [a[None, :3], np.array([1], np.int64)], [np.array([[True]])])]
    nodes += [Node("ReduceMin", [a[None, :3], np.array([1], np.int64)], [np.array([[False]])])]
    nodes += [Node("Cast", [a], [a.astype(np.float16)], {"to": TensorProto.FLOAT16})]
    assert wrong(nodes, opset=20, **way) == {}
