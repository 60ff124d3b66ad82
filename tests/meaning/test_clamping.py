"""Limits that are outside: of slices, of Clip, and the far tails of activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dsc
from tests.meaning.nodes import WAYS, Node, model_of, wrong

FAR = np.iinfo(np.int64)
INT32 = np.iinfo(np.int32)


def _picked(start: int, end: int, step: int, size: int) -> list[int]:
    """The text of Slice: negative ones count from the end; then a start is clamped to elements of the tensor if the
    step is negative, else to [0, size], an end to [-1, size - 1], else to [0, size].
    """
    start, end = (v + size if v < 0 else v for v in (start, end))
    low, high = (0, size - 1) if step < 0 else (0, size)
    start = min(max(start, low), high)
    end = min(max(end, -1 if step < 0 else 0), high)
    return list(range(start, end, step))


LIMITS = [
    (start, end, step)
    for start in (FAR.min, -9, -5, -2, 0, 3, 5, FAR.max)
    for end in (FAR.min, -9, -1, 0, 2, 9, FAR.max)
    for step in (1, 2, -1, -3)
]


def _slice(start: int, end: int, step: int, dtype: Any) -> Node:
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    info = np.iinfo(dtype)
    limits = [np.array([min(max(v, info.min), info.max)], dtype) for v in (start, end, 1, step)]
    return Node("Slice", [x, *limits], [x[:, _picked(start, end, step, 5)]])


def _some(dtype: Any) -> list[Node]:
    return [_slice(*limits, dtype) for limits in LIMITS[:: 5 if dtype == np.int64 else 17]]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_slices(way: dict[str, Any]) -> None:
    nodes = [*_some(np.int64), *_some(np.int32)]
    assert wrong([n for n in nodes if n.expected[0].size], **way) == {}


@pytest.mark.parametrize("limits", [(FAR.max, FAR.min, -1), (-9, FAR.min, -1), (3, -9, -2), (-2, 9, 1), (9, 0, -3)])
def test_slices_of_a_free_size(limits: tuple[int, int, int]) -> None:
    """x[::-1] among them."""
    start, end, step = limits
    model, _ = model_of([_slice(start, end, step, np.int64)], 22)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "picked"
    module = dsc.compile(model, threads=1)
    for size in (1, 4, 7):
        x = np.arange(2 * size, dtype=np.float32).reshape(2, size)
        (result,) = module.run({"n0_0": x}).values()
        np.testing.assert_array_equal(result, x[:, _picked(start, end, step, size)])


def test_clip() -> None:
    x = np.array([-np.inf, -7, -1, 0, 2, 5, 9, np.inf], np.float32)
    low, high = np.array(-1, np.float32), np.array(5, np.float32)
    nodes = [
        Node("Clip", [x, low, high], [np.clip(x, -1, 5)]),
        Node("Clip", [x, high, low], [np.full_like(x, -1)]),  # min above max: max
        Node("Clip", [x, low, None], [np.maximum(x, -1)]),
        Node("Clip", [x, None, high], [np.minimum(x, 5)]),
        Node("Clip", [x], [x]),
    ]
    assert wrong(nodes) == {}


@pytest.mark.parametrize("opset", [7, 10])
def test_clip_without_bounds_was_limited_to_finite_numbers(opset: int) -> None:
    x = np.array([-np.inf, -7, 0, 9, np.inf], np.float32)
    largest = np.finfo(np.float32).max
    nodes = [
        Node("Clip", [x], [np.clip(x, -largest, largest)]),
        Node("Clip", [x], [np.clip(x, 0, largest)], {"min": 0.0}),
        Node("Clip", [x], [np.clip(x, -largest, 6)], {"max": 6.0}),
    ]
    assert wrong(nodes, opset) == {}


def test_tails_of_activations() -> None:
    x = np.array([-80, -50, -20, -10, 10, 20, 50, 80], np.float32)
    below, beyond = x < 0, np.where(x < 0, np.float32(0), x)

    def node(op_type: str, expected: np.ndarray, **attributes: Any) -> Node:
        return Node(op_type, [x], [expected.astype(np.float32)], attributes, 1e-6)

    nodes = [
        node("Gelu", beyond, approximate="tanh"),
        node("Gelu", beyond),
        node("Sigmoid", 1 / (1 + np.exp(-x.astype(np.float64)))),
        node("Softplus", np.log1p(np.exp(x.astype(np.float64)))),
        node("Mish", np.where(x < 0, x * np.exp(x.astype(np.float64)), x)),
        node("HardSigmoid", np.where(below, 0, 1)),
        node("HardSwish", beyond),
        node("Elu", np.where(below, np.expm1(x.astype(np.float64)), x)),
        node("Celu", np.where(below, 2 * np.expm1(x.astype(np.float64) / 2), x), alpha=2.0),
        node("Tanh", np.sign(x)),
        node("Erf", np.sign(x)),
    ]
    for each in nodes:
        each.rtol = 5e-6
    assert wrong(nodes) == {}
    exact = [n for n in nodes if n.op_type == "Gelu"]
    for each in exact:
        each.operands, each.expected = [np.array([-50.0, -30.0], np.float32)], [np.zeros(2, np.float32)]
        each.rtol = 1e-20
    assert wrong(exact) == {}
