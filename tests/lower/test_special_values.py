# ruff: noqa: E501 - tables have long lines
"""NaN, infinities, zeros of both signs, denormal and extreme numbers through the lowering of every operator on floats.

The expected values are onnx.reference's; one library has them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from tests.lower.node_cases import Case, node_case, outcomes

TYPES = {"float": np.float32, "double": np.float64, "float16": np.float16}

EXACT = [
    "Abs(x)", "Neg(x)", "Identity(x)", "Floor(x)", "Ceil(x)", "Round(x)", "Sqrt(x)", "Reciprocal(x)",
    "IsNaN(x)", "IsInf(x)", "IsInf<detect_negative=0>(x)", "IsInf<detect_positive=0>(x)", "Sign(x)",
    "Cast<to=9>(x)", "Relu(x)", "ThresholdedRelu<alpha=1.0>(x)", "Clip(x, lo, hi)", "Add(x, y)", "Sub(x, y)", "Mul(x, y)", "Div(x, y)",
    "Max(x, y)", "Min(x, y)", "Max(x, zero)", "Min(zero, x)", "Max(x)", "Equal(x, y)", "Equal(x, x)",
    "Less(x, y)", "LessOrEqual(x, y)", "Greater(x, y)", "GreaterOrEqual(x, y)", "Where(b, x, y)",
    "Mul(x, zero)", "Div(zero, x)", "Div(x, zero)", "Sub(x, x)", "Div(x, x)", "Sub(zero, x)", "Mul(x, one)",
    "Div(x, one)", "Sub(x, zero)", "Mod<fmod=1>(x, y)",
]  # fmt: skip
"""One IEEE operation, or none."""

CLOSE = [
    "Exp(x)", "Log(x)", "Tanh(x)", "Erf(x)", "Sigmoid(x)", "Softplus(x)", "Softsign(x)", "Sin(t)", "Cos(t)", "Tan(t)",
    "Sinh(x)", "Cosh(x)", "Asin(x)", "Acos(x)", "Atan(x)", "Asinh(x)", "Acosh(x)", "Atanh(x)",
    "LeakyRelu(x)", "Elu(x)", "Celu(x)", "Selu(x)", "Gelu(x)", "HardSigmoid(x)", "HardSwish(x)", "Mish(x)",
    "Shrink(x)", "Pow(x, y)", "Pow(x, zero)",
    "Sum(x, y, x)", "Mean(x, y)",
]  # fmt: skip
"""Accurate to some units in the last place, denormal results to a smallest normal number."""


def values(dtype: type[np.floating]) -> np.ndarray:
    """The numbers of interest."""
    info = np.finfo(dtype)
    listed = [
        *(np.nan, np.inf, 0.0, info.tiny, info.smallest_subnormal, info.max, info.eps, 0.4, 0.5, 1.0, 1.5, 2.0, 2.5, 9.0, 88.0, 100.0),
    ]  # fmt: skip
    return np.array([*listed, *(-v for v in listed)], dtype)


@pytest.mark.parametrize(("lines", "ulps"), [(EXACT, 0), (CLOSE, 64)])
def test_operators(lines: Sequence[str], ulps: int) -> None:
    cases = [case for name in TYPES for case in _cases(name, lines, ulps)]
    assert {name: outcome for name, outcome in outcomes(cases).items() if outcome != "ok"} == {}


def _cases(name: str, lines: Sequence[str], ulps: int) -> Iterator[Case]:
    dtype = TYPES[name]
    numbers = values(dtype)
    small = np.where(np.abs(numbers) < 1e4, numbers, dtype(np.nan))  # nobody reduces larger angles alike
    n = len(numbers)
    inputs = {"x": np.repeat(numbers, n), "y": np.tile(numbers, n), "b": np.arange(n * n) % 3 == 0, "t": small}
    inputs |= {
        "zero": np.array(0, dtype),
        "one": np.array(1, dtype),
        "lo": np.array(-1, dtype),
        "hi": np.array(2, dtype),
    }
    info = np.finfo(dtype)
    for index, line in enumerate(lines):
        (node,) = onnx.parser.parse_graph(f"g (float x) => (float o) {{ o = {line} }}").node
        given = {operand: inputs[operand] for operand in node.input}
        values_of = [
            onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in given.items()
        ]
        graph = onnx.helper.make_graph([node], "g", values_of, [onnx.ValueInfoProto(name="o")])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)])
        with np.errstate(all="ignore"):
            summed = dtype is np.float16 and node.op_type in ("Sum", "Mean")  # in float32, and rounded once
            terms = {k: v.astype(np.float32) if summed else v for k, v in given.items()}
            expected = ReferenceEvaluator(model).run(None, terms)
            expected = [array.astype(dtype) if summed else array for array in expected]
        # onnx.reference has some constants in float32; a result that is denormal may be zero, also times 100
        rtol, atol = ulps * max(float(info.eps), 1e-7), 200.0 * float(info.tiny) if ulps else 0.0
        yield node_case(f"{name}_{index}_{node.op_type}", node, given, expected, rtol, atol)
