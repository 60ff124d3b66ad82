"""Random ragged shapes and awkward attributes against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lower import reference
from tests.lower.node_cases import Case, op_case, outcomes

RNG = np.random.default_rng(20261122)


def rand(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _conv(shape: tuple[int, ...], weight: tuple[int, ...], bias: bool = True, **attributes: Any) -> tuple[Any, ...]:
    return "Conv", [rand(*shape), rand(*weight), rand(weight[0]) if bias else None], attributes


def _transposed(shape: tuple[int, ...], weight: tuple[int, ...], **attributes: Any) -> tuple[Any, ...]:
    return "ConvTranspose", [rand(*shape), rand(*weight)], attributes


def _resize(shape: tuple[int, ...], scales: Any = None, sizes: Any = None, **attributes: Any) -> tuple[Any, ...]:
    scales = None if scales is None else np.array(scales, np.float32)
    return "Resize", [rand(*shape), None, scales, None if sizes is None else ints(*sizes)], attributes


NODES: list[tuple[str, list[np.ndarray | None], dict[str, Any]]] = [
    _conv((2, 7, 13, 11), (5, 7, 3, 2), strides=[2, 3], pads=[1, 0, 2, 1]),
    _conv((1, 6, 17, 9), (9, 2, 3, 3), group=3, strides=[3, 2], auto_pad="SAME_UPPER"),
    _conv((1, 6, 10, 9), (6, 1, 5, 4), group=6, strides=[2, 2], auto_pad="SAME_LOWER"),
    _conv((3, 5, 19), (4, 5, 4), strides=[3], bias=False),
    _conv((1, 3, 6, 7, 5), (4, 3, 2, 3, 2), pads=[1, 1, 0, 0, 1, 1]),
    _transposed((2, 6, 7, 5), (6, 3, 3, 2), strides=[2, 3], pads=[1, 0, 1, 1], output_padding=[1, 2]),
    _transposed((1, 6, 5, 6), (6, 2, 3, 3), group=2, dilations=[2, 1], strides=[2, 2]),
    _transposed((1, 3, 5, 6), (3, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    _transposed((1, 3, 5, 6), (3, 4, 3, 3), strides=[2, 2], output_shape=[10, 13]),
    (
        "MaxPool",
        [rand(2, 3, 13, 11)],
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1},
    ),
    (
        "MaxPool",
        [rand(1, 3, 13, 11)],
        {"kernel_shape": [3, 3], "dilations": [2, 1], "pads": [2, 1, 1, 0]},
    ),
    (
        "AveragePool",
        [rand(2, 3, 13, 11)],
        {"kernel_shape": [3, 4], "strides": [2, 3], "pads": [1, 1, 1, 2], "ceil_mode": 1},
    ),
    (
        "AveragePool",
        [rand(2, 3, 13, 11)],
        {
            "kernel_shape": [3, 4],
            "strides": [2, 3],
            "pads": [1, 1, 1, 2],
            "ceil_mode": 1,
            "count_include_pad": 1,
        },
    ),
    ("LpPool", [rand(1, 3, 9, 11)], {"kernel_shape": [3, 2], "p": 3, "strides": [2, 2]}),
    ("MatMul", [rand(3, 1, 5, 7), rand(4, 7, 6)], {}),
    ("MatMul", [rand(7), rand(3, 7, 6)], {}),
    ("Gemm", [rand(7, 5), rand(9, 7), rand(9)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Softmax", [rand(3, 37, 5) * 30], {"axis": 1}),
    ("LogSoftmax", [rand(3, 37) * 30], {"axis": -1}),
    ("LayerNormalization", [rand(3, 5, 37), rand(37), rand(37)], {"epsilon": 1e-6}),
    ("InstanceNormalization", [rand(3, 5, 7, 9), rand(5), rand(5)], {}),
    ("LRN", [rand(2, 9, 5, 3)], {"size": 5, "alpha": 0.01, "beta": 0.75, "bias": 1.5}),
    ("LpNormalization", [rand(2, 9, 5)], {"axis": 1, "p": 2}),
    ("Gelu", [rand(5, 33) * 4], {}),
    ("Gelu", [rand(5, 33) * 4], {"approximate": "tanh"}),
    ("Mish", [rand(5, 33) * 40], {}),
    ("Softplus", [rand(5, 33) * 40], {}),
    ("Pow", [np.abs(rand(5, 33)) + 0.1, rand(33)], {}),
    ("Pow", [np.abs(rand(5, 33)) + 0.1, np.array(0.3, np.float32)], {}),
    ("ReduceLogSumExp", [rand(3, 4, 5) * 40, ints(0, -1)], {"keepdims": 0}),
    ("ReduceL2", [rand(3, 4, 5), ints(1)], {}),
    ("CumSum", [rand(3, 9, 4), np.array(1, np.int64)], {"exclusive": 1, "reverse": 1}),
    # several blocks of the scan, the last one short
    ("CumSum", [rand(2, 77, 3), np.array(-2, np.int64)], {}),
    ("CumSum", [rand(2, 77), np.array(1, np.int64)], {"exclusive": 1}),
    ("CumSum", [rand(2, 65), np.array(1, np.int64)], {"reverse": 1}),
    ("CumSum", [rand(1, 64), np.array(1, np.int64)], {"exclusive": 1, "reverse": 1}),
    ("TopK", [rand(3, 29, 4), ints(7)], {"axis": 1, "largest": 0}),
    (
        "ArgMax",
        [RNG.integers(0, 4, (5, 13)).astype(np.float32)],
        {"axis": 1, "select_last_index": 1, "keepdims": 0},
    ),
    ("Gather", [rand(9, 5, 4), RNG.integers(-5, 5, (3, 2))], {"axis": 1}),
    ("GatherND", [rand(4, 5, 6), RNG.integers(-5, 5, (4, 3, 1))], {"batch_dims": 1}),
    ("ScatterElements", [rand(5, 6), RNG.integers(-5, 5, (3, 4)), rand(3, 4)], {"reduction": "add"}),
    ("ScatterND", [rand(5, 6, 3), RNG.integers(0, 5, (7, 2)), rand(7, 3)], {"reduction": "max"}),
    ("Slice", [rand(9, 8, 7), ints(-2, 1), ints(-100, 100), ints(0, 2), ints(-3, 2)], {}),
    ("Pad", [rand(3, 5, 7), ints(1, 0, 2, 0, 3, 1)], {"mode": "reflect"}),
    ("Pad", [rand(3, 5, 7), ints(1, -2, 2, 0, 3, -1), np.array(1.5, np.float32)], {}),
    ("Reshape", [rand(6, 4, 5), ints(0, -1, 2)], {}),
    ("Transpose", [rand(3, 4, 5, 6)], {"perm": [2, 0, 3, 1]}),
    ("Einsum", [rand(2, 5, 3, 7), rand(2, 4, 3, 7)], {"equation": "bihd,bjhd->bhij"}),
    ("DepthToSpace", [rand(2, 18, 3, 5)], {"blocksize": 3, "mode": "CRD"}),
    ("Trilu", [rand(2, 6, 9), np.array(-2, np.int64)], {"upper": 0}),
    (
        "QuantizeLinear",
        [rand(3, 5, 7) * 90, np.abs(rand(5)) + 0.1, RNG.integers(-9, 9, 5).astype(np.int8)],
        {},
    ),
    _resize((1, 3, 7, 9), scales=[1, 1, 2, 3], mode="nearest"),
    _resize(
        (1, 3, 7, 9),
        scales=[1, 1, 2, 2],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    _resize((1, 3, 7, 9), scales=[1, 1, 1.7, 0.6], mode="nearest", nearest_mode="ceil"),
    _resize((1, 3, 7, 9), scales=[1, 1, 1.7, 0.6], mode="linear"),
    _resize((1, 3, 7, 9), sizes=[1, 3, 13, 5], mode="linear", coordinate_transformation_mode="align_corners"),
    _resize((1, 3, 7, 9), sizes=[1, 3, 13, 1], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    _resize((1, 3, 11, 9), sizes=[1, 3, 13, 5], mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    _resize((1, 3, 23, 19), sizes=[1, 3, 10, 7], mode="linear", antialias=1),
    _resize((1, 3, 23, 19), sizes=[1, 3, 10, 7], mode="cubic", antialias=1),
]


def _case(number: int, op_type: str, operands: list[np.ndarray | None], attributes: dict[str, Any]) -> Case:
    count = 2 if op_type == "TopK" else 1
    expected = reference.run(op_type, operands, attributes, count)
    # float32 sums of some hundred terms in another order than ONNX Runtime's
    return op_case(f"{op_type}_{number}", op_type, operands, expected, attributes, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    return outcomes([_case(i, *node) for i, node in enumerate(NODES)])


@pytest.mark.parametrize("name", [f"{node[0]}_{i}" for i, node in enumerate(NODES)])
def test_as_onnxruntime(results: dict[str, str], name: str) -> None:
    assert results[name] == "ok"
