"""Graphs that rules of canonicalization are tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from xdsl.ir import SSAValue

from dsc.passes.canonicalize import RULES
from dsc.passes.rule import Rule
from tests.passes.equations import Builder

B, V = Builder, SSAValue
Body = Callable[[Builder, SSAValue], Any]
I64 = np.int64
F16, BF16, F32, F64 = np.float16, ml_dtypes.bfloat16, np.float32, np.float64
IMAGE = (2, 4, 6, 6)


def rule_named(name: str) -> Rule:
    (found,) = [rule for rule in RULES if type(rule).__name__ == name]
    return found


def conv(b: B, x: V, bias: bool = True, **attributes: Any) -> V:
    return b("Conv", x, b.c(5, 4, 3, 3), b.c(5) if bias else None, **attributes)


def conv_transpose(b: B, x: V) -> V:
    return b("ConvTranspose", x, b.c(4, 5, 2, 2), b.c(5))


def norm_params(b: B, channels: int) -> list[np.ndarray]:
    return [b.c(channels), b.c(channels), b.c(channels), b.c(channels, positive=True)]


def channels(b: B, count: int = 5) -> np.ndarray:
    return b.c(1, count, 1, 1, positive=True)


def mean(b: B, x: V, axes: list[int] | None = None) -> V:
    return b("ReduceMean", x, np.array(axes or [-1]))


def variance(b: B, d: V, eps: Any = 1e-5, axes: list[int] | None = None, power: bool = True) -> V:
    square = b("Pow", d, 2.0) if power else b("Mul", d, d)
    return b("Add", mean(b, square, axes), eps)


def gelu_tail(b: B, x: V, gate: V, form: int) -> V:
    match form:
        case 0:
            return b("Mul", b("Mul", x, 0.5), gate)
        case 1:
            return b("Mul", b("Mul", x, gate), 0.5)
        case 2:
            return b("Mul", x, b("Mul", 0.5, gate))
        case 3:
            return b("Div", b("Mul", gate, x), 2.0)
        case _:
            return b("Mul", gate, b("Div", x, 2.0))


def gelu_erf(form: int, mul: bool = False) -> Body:
    def body(b: B, x: V) -> V:
        inner = b("Mul", x, float(np.sqrt(0.5))) if mul else b("Div", x, float(np.sqrt(2)))
        return gelu_tail(b, x, b("Add", 1.0, b("Erf", inner)), form)

    return body


C = float(np.sqrt(2 / np.pi))


def gelu_tanh(form: int) -> Body:
    def body(b: B, x: V) -> V:
        match form:
            case 0:
                inner = b("Mul", b("Add", x, b("Mul", b("Pow", x, 3.0), 0.044715)), C)
            case 1:
                inner = b("Mul", C, b("Add", b("Mul", 0.044715, b("Mul", x, b("Mul", x, x))), x))
            case 2:
                inner = b("Mul", b("Mul", x, C), b("Add", 1.0, b("Mul", b("Mul", 0.044715, x), x)))
            case _:
                inner = b("Mul", x, b("Add", b("Mul", b("Mul", x, x), 0.044715 * C), C))
        return gelu_tail(b, x, b("Add", b("Tanh", inner), 1.0), form)

    return body


def relu6(b: B, x: V) -> V:
    return b("Clip", b("Add", x, 3.0), 0.0, 6.0)


def rms(form: int, dtype: Any = np.float32) -> Body:
    def body(b: B, x: V) -> V:
        v = variance(b, x, np.asarray(1e-5, dtype), power=form % 2 == 0 and dtype == np.float32)
        match form:
            case 0:
                return b("Div", x, b("Sqrt", v))
            case 1:
                return b("Mul", x, b("Reciprocal", b("Sqrt", v)))
            case 2:
                return b("Mul", b("Div", 1.0, b("Sqrt", v)), x)
            case _:
                return b("Mul", x, b("Pow", v, -0.5))

    return body


def layer_norm(b: B, x: V) -> V:
    d = b("Sub", x, mean(b, x))
    scaled = b("Mul", b("Div", d, b("Sqrt", variance(b, d))), b.c(8))
    return b("Add", scaled, b.c(8))


def tensorflow_norm(b: B, x: V, eps: Any = 1e-5) -> V:
    m = mean(b, x)
    gain = b("Mul", b("Reciprocal", b("Sqrt", variance(b, b("Sub", x, m), eps))), b.c(8))
    return b("Add", b("Mul", x, gain), b("Sub", b.c(8), b("Mul", m, gain)))


def softmax(b: B, x: V, shift: bool) -> V:
    e = b("Exp", b("Sub", x, b("ReduceMax", x, np.array([1])))) if shift else b("Exp", x)
    return b("Div", e, b("ReduceSum", e, np.array([1])))


def guarded_softmax(b: B, x: V, low: float) -> V:
    mask = b("Where", b("Greater", x, 0.0), 0.0, low)
    p = b("Softmax", b("Add", x, mask))
    return b("Where", b("IsNaN", p), 0.0, p)


def if_constant(b: B, x: V) -> V:
    from xdsl.ir import Block, Region

    from dsc.ir import YieldOp, onnx

    regions = []
    for branch in onnx.If.graph_attributes:
        op = onnx.Relu.make(x) if branch == "then_branch" else onnx.Neg.make(x)
        block = Block()
        block.add_ops([op, YieldOp(op.out)])
        regions.append(Region(block))
    return b("If", np.array(False), result_types=[x.type], regions=regions)


def keys(b: B, x: V) -> V:
    flat = b("Reshape", x, np.array([-1, 5, 8]))
    return b("Reshape", b("Transpose", flat, perm=[0, 2, 1]), np.array([2, 3, 8, 5]))


def matmul_reshaped(b: B, x: V, bias: bool) -> V:
    flat = b("Reshape", x, np.array([-1, 8]))
    product = b("MatMul", flat, b.c(8, 6))
    return b("Reshape", b("Add", product, b.c(6)) if bias else product, np.array([2, 3, 6]))
