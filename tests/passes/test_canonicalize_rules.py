"""Every rule of canonicalization: before and after, the numbers, and refusals with their reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.passes.canonicalize import RULES
from dsc.passes.canonicalize.reshapes import ReshapeOfReshape
from dsc.passes.rule import Rule
from tests.passes.equations import Builder, apply, assert_same_numbers, build, ops

B, V = Builder, SSAValue
Body = Callable[[Builder, SSAValue], Any]
I64 = np.int64
F16, BF16, F32, F64 = np.float16, ml_dtypes.bfloat16, np.float32, np.float64
IMAGE = (2, 4, 6, 6)


class Case(NamedTuple):
    rule: str  # the class
    dims: tuple[int | str, ...]
    body: Body
    after: list[str]
    dtype: Any = np.float32


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


FIRES = [
    Case("DropIdentity", (3,), lambda b, x: b("Identity", x), []),
    Case("DropDropout", (3,), lambda b, x: b("Dropout", x), []),
    Case("DropDropout", (3,), lambda b, x: b("Dropout", x, 0.5, np.array(False), outputs=2), ["Shape", "Expand"]),
    Case("DropDropout", (3, "n"), lambda b, x: b.op("Dropout", x, outputs=2).results, ["Shape", "Expand"]),
    Case("DropCast", (3,), lambda b, x: b("Cast", x, to=1), []),
    Case("DropCast", (3,), lambda b, x: b("CastLike", x, x), []),
    Case("CastLikeIsCast", (3,), lambda b, x: b("CastLike", x, np.array([1], I64)), ["Cast"]),
    Case("DropVariadic", (3,), lambda b, x: b("Concat", x, axis=0), []),
    Case("DropVariadic", (3,), lambda b, x: b("Max", x), []),
    Case("SumOfTwo", (3,), lambda b, x: b("Sum", x, b.c(3)), ["Add"]),
    Case("AddZero", (3,), lambda b, x: b("Add", -0.0, b("Sub", x, np.zeros(3, np.float32))), []),
    Case("AddZero", (3,), lambda b, x: b("Add", x, np.zeros(3, np.int64)), [], np.int64),
    Case("MulOne", ("n", 3), lambda b, x: b("Mul", b("Div", x, 1.0), np.ones((1, 3), np.float32)), []),
    Case("PowOne", (3,), lambda b, x: b("Pow", x, 1.0), []),
    Case("NegNeg", (3,), lambda b, x: b("Neg", b("Neg", x)), []),
    Case("NegNeg", (3,), lambda b, x: b("Not", b("Not", x)), [], np.bool_),
    Case("DropClip", (3,), lambda b, x: b("Clip", x), []),
    Case("DropPad", (3,), lambda b, x: b("Pad", x, np.array([0, 0])), []),
    Case("DropTile", (2, 3), lambda b, x: b("Tile", x, np.array([1, 1])), []),
    Case("DropReduction", (3,), lambda b, x: b("ReduceSum", x, noop_with_empty_axes=1), []),
    Case("DropSplit", (4,), lambda b, x: b("Split", x, num_outputs=1), []),
    Case("DropSlice", ("n", 3), lambda b, x: b("Slice", x, [0], [2**31 - 1], [0]), []),
    Case("DropSlice", (4, 3), lambda b, x: b("Slice", x, [0], [4], [0]), []),
    Case("DropReshape", ("n", 4), lambda b, x: b("Reshape", x, np.array([-1, 4])), []),
    Case("DropReshape", ("n", "m"), lambda b, x: b("Reshape", x, np.array([0, 0])), []),
    Case("ExpandToSame", (2, 3), lambda b, x: b("Expand", x, np.array([1, 3])), []),
    Case("FlattenIsReshape", ("n", 2, 3), lambda b, x: b("Flatten", x), ["Reshape"]),
    Case("ReshapeOfReshape", (2, 12), lambda b, x: b("Reshape", b("Reshape", x, [24]), [4, 6]), ["Reshape"]),
    Case("ReshapeOfReshape", (2, 12), lambda b, x: b("Reshape", b("Unsqueeze", x, [0]), [2, 12]), []),
    Case("SqueezeOfUnsqueeze", ("n", "m"), lambda b, x: b("Squeeze", b("Unsqueeze", x, [-1]), [2]), []),
    Case("SqueezeOfUnsqueeze", ("n", 1, "m"), lambda b, x: b("Unsqueeze", b("Squeeze", x, [1]), [-2]), []),
    Case("TransposeBetweenReshapes", (2, 3, 5, 8), keys, ["Transpose"]),
    Case("MatMulBetweenReshapes", (2, 3, 8), lambda b, x: matmul_reshaped(b, x, True), ["MatMul", "Add"]),
    Case("MatMulBetweenReshapes", (2, 3, 8), lambda b, x: matmul_reshaped(b, x, False), ["MatMul"]),
    Case(
        "MatMulBetweenReshapes",
        (2, 3, 2, 4),
        lambda b, x: matmul_reshaped(b, x, True),
        ["Reshape", "MatMul", "Add"],
    ),
    Case("DropTranspose", (2, 3), lambda b, x: b("Transpose", x, perm=[0, 1]), []),
    Case(
        "TransposeOfTranspose",
        (2, 3, 4),
        lambda b, x: b("Transpose", b("Transpose", x, perm=[1, 2, 0])),
        ["Transpose"],
    ),
    Case("TransposeIsReshape", (1, 3, 4), lambda b, x: b("Transpose", x, perm=[1, 0, 2]), ["Reshape"]),
    Case("ConstantIf", (3,), if_constant, ["Neg"]),
    Case("ConvBatchNorm", IMAGE, lambda b, x: b("BatchNormalization", conv(b, x), *norm_params(b, 5)), ["Conv"]),
    Case(
        "ConvBatchNorm",
        IMAGE,
        lambda b, x: b("BatchNormalization", conv(b, x, False, pads=[1, 1, 1, 1]), *norm_params(b, 5)),
        ["Conv"],
    ),
    Case(
        "ConvBatchNorm",
        IMAGE,
        lambda b, x: b("BatchNormalization", conv_transpose(b, x), *norm_params(b, 5)),
        ["ConvTranspose"],
    ),
    Case("ConvMul", IMAGE, lambda b, x: b("Mul", channels(b), conv(b, x)), ["Conv"]),
    Case("ConvMul", IMAGE, lambda b, x: b("Mul", conv(b, x, False), 1.5), ["Conv"]),
    Case("ConvDiv", IMAGE, lambda b, x: b("Div", conv(b, x), channels(b)), ["Conv"]),
    Case("ConvAdd", IMAGE, lambda b, x: b("Add", channels(b), conv(b, x, False)), ["Conv"]),
    Case("ConvAdd", IMAGE, lambda b, x: b("Add", conv_transpose(b, x), b.c(5, 1, 1)), ["ConvTranspose"]),
    Case("ConvSub", IMAGE, lambda b, x: b("Sub", conv(b, x), channels(b)), ["Conv"]),
    Case(
        "BatchNormIsAffine",
        IMAGE,
        lambda b, x: b("BatchNormalization", x, *norm_params(b, 4)),
        ["Mul", "Add"],
    ),
    Case(
        "GemmIsMatMul",
        (3, 4),
        lambda b, x: b("Gemm", x, b.c(5, 4), b.c(5), transB=1, alpha=0.5, beta=2.0),
        ["MatMul", "Add"],
    ),
    Case("GemmIsMatMul", (4, 3), lambda b, x: b("Gemm", x, b.c(4, 5), transA=1), ["Transpose", "MatMul"]),
    Case(
        "GemmIsMatMul",
        (3, 4),
        lambda b, x: b("Gemm", b.c(2, 4), x, transB=1, alpha=3.0),
        ["Transpose", "MatMul"],
    ),
    Case("MatMulMul", (3, 4), lambda b, x: b("Mul", b("MatMul", x, b.c(4, 5)), b.c(5)), ["MatMul"]),
    Case("MatMulDiv", (2, 3, 4), lambda b, x: b("Div", b("MatMul", x, b.c(4, 5)), 8.0), ["MatMul"]),
    Case("MeanIsGlobalPool", IMAGE, lambda b, x: b("ReduceMean", x, np.array([-1, 2])), ["GlobalAveragePool"]),
    Case(
        "MeanIsGlobalPool",
        IMAGE,
        lambda b, x: b("ReduceMean", x, np.array([2, 3]), keepdims=0),
        ["GlobalAveragePool", "Squeeze"],
    ),
    Case(
        "WholePoolIsGlobal",
        IMAGE,
        lambda b, x: b("AveragePool", x, kernel_shape=[6, 6]),
        ["GlobalAveragePool"],
    ),
    Case("ClipOfMinMax", (3, 4), lambda b, x: b("Min", b("Max", x, -0.5), 1.0), ["Clip"]),
    Case("ClipOfMinMax", (3, 4), lambda b, x: b("Max", b("Min", 1.0, x), -0.5), ["Clip"]),
    Case("ClipOfRelu", (3, 4), lambda b, x: b("Clip", b("Relu", x), None, 6.0), ["Clip"]),
    Case("ClipOfRelu", (3, 4), lambda b, x: b("Min", b("Relu", x), 6.0), ["Clip"]),
    Case("HardSigmoid", (3, 4), lambda b, x: b("Div", relu6(b, x), 6.0), ["HardSigmoid"]),
    Case(
        "HardSigmoidOfClip",
        (3, 4),
        lambda b, x: b("Clip", b("Add", b("Mul", x, 0.2), 0.5), 0.0, 1.0),
        ["HardSigmoid"],
    ),
    Case("HardSwish", (3, 4), lambda b, x: b("Div", b("Mul", x, relu6(b, x)), 6.0), ["HardSwish"]),
    Case("HardSwish", (3, 4), lambda b, x: b("Mul", relu6(b, x), b("Mul", x, 1 / 6)), ["HardSwish"]),
    Case("HardSwish", (3, 4), lambda b, x: b("Mul", b("HardSigmoid", x, alpha=1 / 6), x), ["HardSwish"]),
    *[Case("GeluErf", ("n", 8), gelu_erf(form, form % 2 == 0), ["Gelu"]) for form in range(5)],
    *[Case("GeluTanh", ("n", 8), gelu_tanh(form), ["Gelu"]) for form in range(4)],
    *[Case("RmsNorm", ("n", 3, 8), rms(form), ["RMSNormalization"]) for form in range(4)],
    Case("AffineLayerNorm", ("n", 3, 8), tensorflow_norm, ["LayerNormalization"]),
    Case("Softmax", (3, 4), lambda b, x: softmax(b, x, True), ["Softmax"]),
]


class Refusal(NamedTuple):
    rule: str
    dims: tuple[int | str, ...]
    body: Body
    reason: str
    dtype: Any = np.float32


def shared(b: B, x: V) -> list[V]:
    y = conv(b, x)
    return [y, b("BatchNormalization", y, *norm_params(b, 5))]


def shared_weight(b: B, x: V) -> list[V]:
    w = b("Identity", b.c(5, 4, 3, 3))
    w = w.owner.operands[0]  # type: ignore[union-attr]
    return [b("Mul", b("Conv", x, w), 2.0), b("Conv", b("Relu", x), w)]


def huge_conv(b: B, x: V) -> V:
    return b("Conv", x, np.full((5, 4, 3, 3), 3e37, np.float32), np.full(5, 3e38, np.float32))


REFUSED = [
    Refusal(
        "AddZero",
        (3,),
        lambda b, x: b("Add", x, -np.zeros((2, 3), np.float32)),
        "the constant may widen the shape",
    ),
    Refusal("MulOne", ("n",), lambda b, x: b("Mul", x, np.ones(3, np.float32)), "the constant may widen the shape"),
    Refusal("DropDropout", (3,), lambda b, x: b("Dropout", x, 0.5, np.array(True)), "it may be training"),
    Refusal("DropCast", (3,), lambda b, x: b("Cast", x, to=7), "the types differ"),
    Refusal("DropSlice", (4,), lambda b, x: b("Slice", x, [1], [4], [0]), "it cuts something off"),
    Refusal("DropSlice", (4,), lambda b, x: b("Slice", x, [3], [-9], [0], [-1]), "it has steps"),
    Refusal("DropReshape", ("n", "m"), lambda b, x: b("Reshape", x, np.array([-1, 0])), "the shapes may differ"),
    Refusal(
        "SqueezeOfUnsqueeze",
        (1, 3),
        lambda b, x: b("Squeeze", b("Unsqueeze", x, [2]), [0]),
        "the axes differ",
    ),
    Refusal("TransposeIsReshape", (2, 3), lambda b, x: b("Transpose", x), "it moves data"),
    Refusal("TransposeIsReshape", ("n", 1), lambda b, x: b("Transpose", x), "the shape is not known"),
    Refusal("ConvBatchNorm", IMAGE, shared, "the Conv is used elsewhere: it is an output of the model"),
    Refusal("ConvMul", IMAGE, shared_weight, "w is shared: by a Conv"),
    Refusal("ConvMul", IMAGE, lambda b, x: b("Mul", conv(b, x), b.c(4)), "c is not per channel"),
    Refusal("ConvAdd", IMAGE, lambda b, x: b("Add", conv(b, x), b.c(5, 4, 4)), "c is not per channel"),
    Refusal("ConvDiv", IMAGE, lambda b, x: b("Div", conv(b, x), 0.0), "c has a zero"),
    Refusal("ConvMul", IMAGE, lambda b, x: b("Mul", huge_conv(b, x), 1e10), "the scaled weights leave the range of"),
    Refusal("ConvMul", IMAGE, lambda b, x: b("Mul", conv(b, x), np.inf), "the scaled weights leave the range of"),
    Refusal("ConvDiv", IMAGE, lambda b, x: b("Div", huge_conv(b, x), 1e-10), "the scaled weights leave the range of"),
    Refusal("ConvAdd", IMAGE, lambda b, x: b("Add", huge_conv(b, x), 3.3e38), "the bias is not finite"),
    Refusal(
        "ConvBatchNorm",
        IMAGE,
        lambda b, x: b("BatchNormalization", conv(b, x), *norm_params(b, 5)[:3], -np.ones(5, np.float32)),
        "the scaled weights leave the range of",
    ),
    Refusal(
        "BatchNormIsAffine",
        IMAGE,
        lambda b, x: b("BatchNormalization", x, *norm_params(b, 4)[:3], -np.ones(4, np.float32)),
        "scale or bias is not finite",
    ),
    Refusal(
        "ConvBatchNorm",
        IMAGE,
        lambda b, x: b("BatchNormalization", b("ConvTranspose", x, b.c(4, 3, 2, 2), group=2), *norm_params(b, 6)),
        "output channels of a grouped ConvTranspose do not lie along one axis",
    ),
    Refusal(
        "BatchNormIsAffine",
        IMAGE,
        lambda b, x: b("BatchNormalization", conv(b, x), *norm_params(b, 5)),
        "it is left to the convolution before it",
    ),
    Refusal(
        "GemmIsMatMul",
        (3, 3),
        lambda b, x: b("Gemm", x, b("Relu", x), alpha=2.0),
        "alpha is not 1, and neither factor is constant",
    ),
    Refusal(
        "GemmIsMatMul",
        (3, 4),
        lambda b, x: b("Gemm", x, b.c(4, 5), alpha=3e38),
        "alpha times a constant leaves the range",
    ),
    Refusal(
        "MatMulMul", (3, 4), lambda b, x: b("Mul", b("MatMul", x, b.c(4, 5)), 3e38), "the scaled weights leave the"
    ),
    Refusal(
        "MatMulMul",
        (3, 4),
        lambda b, x: b("Mul", b("MatMul", x, b.c(4, 5) * np.float32(1e-30)), 1e-30),
        "the scaled weights leave the",
    ),
    Refusal(
        "MatMulDiv", (3, 4), lambda b, x: b("Div", b("MatMul", x, b.c(4, 5)), 1e-39), "the scaled weights leave the"
    ),
    Refusal("MatMulMul", (3, 4), lambda b, x: b("Mul", b("MatMul", x, b.c(4, 1)), b.c(5)), "c widens the result"),
    Refusal("MatMulMul", (3, 4), lambda b, x: b("Mul", b("MatMul", x, b.c(4, 5)), b.c(1, 1, 5)), "c is not a row"),
    Refusal("MatMulDiv", (4,), lambda b, x: b("Div", b("MatMul", x, b.c(4, 5)), b.c(1, 5)), "c is not a row"),
    Refusal("ConvMul", IMAGE, lambda b, x: b("Mul", conv(b, x), b.c(1, 1, 5, 1, 1)), "c is not per channel"),
    Refusal("NormBias", (3, 8), lambda b, x: b("Add", b("LayerNormalization", x, b.c(8)), b.c(1, 1, 8)), "c is not of"),
    Refusal(
        "HardSwish", (3, 4), lambda b, x: b("Div", b("Mul", x, relu6(b, x)), np.full((1, 1, 1), 6, F32)), "a constant"
    ),
    Refusal(
        "GeluErf",
        (3, 4),
        lambda b, x: gelu_tail(b, x, b("Add", np.ones((1, 1, 1), F32), b("Erf", b("Div", x, float(np.sqrt(2))))), 0),
        "a constant widens the shape",
    ),
    Refusal("MatMulMul", (3, 4), lambda b, x: b("Mul", b("MatMul", x, b.c(4, 5)), b.c(3, 1)), "c is not a row"),
    Refusal("MeanIsGlobalPool", (2, 3, 4), lambda b, x: b("ReduceMean", x, np.array([2])), "it is no image"),
    Refusal("MeanIsGlobalPool", IMAGE, lambda b, x: b("ReduceMean", x, np.array([1, 2])), "the axes are others"),
    Refusal(
        "WholePoolIsGlobal",
        IMAGE,
        lambda b, x: b("AveragePool", x, kernel_shape=[2, 2]),
        "the kernel is not the whole image",
    ),
    Refusal(
        "ClipOfMinMax", (3,), lambda b, x: b("Min", b("Max", x, 2.0), 1.0), "the bounds are crossed, or not numbers"
    ),
    Refusal(
        "ClipOfMinMax", (3,), lambda b, x: b("Min", b("Max", x, np.nan), 1.0), "the bounds are crossed, or not numbers"
    ),
    Refusal(
        "ClipOfRelu",
        (3,),
        lambda b, x: b("Clip", b("Relu", x), 1.0, 6.0),
        "the bounds are not those of a Relu",
    ),
    Refusal(
        "HardSwish",
        (3,),
        lambda b, x: b("Mul", x, b("HardSigmoid", x)),
        "alpha and beta are 0.2 and 0.5, not 1/6 and 1/2",
    ),
    Refusal(
        "GeluErf",
        (3,),
        lambda b, x: [
            e := b("Erf", b("Div", x, float(np.sqrt(2)))),
            b("Mul", b("Mul", x, 0.5), b("Add", e, 1.0)),
        ],
        "the Erf is used elsewhere: it is an output of the model",
    ),
    Refusal(
        "RmsNorm",
        (3, 8),
        lambda b, x: b("Div", x, b("Sqrt", variance(b, x, axes=[0]))),
        "the axes are not the last ones",
    ),
    Refusal(
        "RmsNorm",
        (3, "n"),
        lambda b, x: b("Div", x, b("Sqrt", variance(b, x))),
        "a normalized dim is not known",
    ),
    Refusal(
        "CenteredRmsNorm",
        (3, 8),
        lambda b, x: b("RMSNormalization", b("Sub", x, mean(b, x, [0])), b.c(8)),
        "the mean is over other axes",
    ),
    Refusal(
        "NormScale",
        (3, 8),
        lambda b, x: b("Mul", b("LayerNormalization", x, b.c(8)), b.c(3, 1)),
        "c is not of the normalized shape",
    ),
    Refusal(
        "NormBias",
        (3, 8),
        lambda b, x: b("Add", b("LayerNormalization", x, b.c(8)), b.c(3, 8)),
        "c is not of the normalized shape",
    ),
    Refusal(
        "RmsNorm",
        (3, 8),
        lambda b, x: b("Div", x, b("Sqrt", variance(b, x, eps=np.full((1, 1, 1), 1e-5, np.float32)))),
        "a constant widens the shape",
    ),
    Refusal(
        "AffineLayerNorm",
        (3, 8),
        lambda b, x: tensorflow_norm(b, x, np.full((1, 1, 1), 1e-5, np.float32)),
        "a constant widens the shape",
    ),
    Refusal("RmsNorm", (3, 8), rms(0, np.float64), "a normalization computes in float32", np.float64),
    Refusal(
        "HardSigmoidOfClip",
        (3,),
        lambda b, x: b("Clip", b("Add", b("Mul", x, np.array(0.1)), np.array(0.5)), np.array(0.0), np.array(1.0)),
        "attributes are of float32",
        np.float64,
    ),
    Refusal(
        "NormScale",
        (3, 8),
        lambda b, x: b("Mul", b("LayerNormalization", x, np.full(8, 1e30, np.float32)), 1e30),
        "the scale is not finite",
    ),
]


def _rule(name: str) -> Rule:
    (found,) = [rule for rule in RULES if type(rule).__name__ == name]
    return found


@pytest.mark.parametrize("case", FIRES, ids=lambda case: case.rule)
def test_fires(case: Case) -> None:
    before = build(case.dims, case.body, case.dtype)
    after = before.clone()
    record = apply(after, _rule(case.rule))
    assert ops(after) == case.after
    assert record.fired[_rule(case.rule).name] >= 1
    assert_same_numbers(before, after)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.rule)
def test_refuses(case: Refusal) -> None:
    graph = build(case.dims, case.body, case.dtype)
    before = graph.text()
    record = apply(graph, _rule(case.rule))
    assert not record.fired
    assert graph.text() == before
    assert any(miss.reason.startswith(case.reason) for miss in record.near_misses())


def _number(body: str, value: Any, dtype: Any) -> Any:
    return lambda b, x: b(body, x, np.asarray(value, dtype))


LEFT_ALONE = [
    # near the neutral element is not neutral, not even by one bit
    *[(dtype, _number("Mul", 1.005, dtype)) for dtype in (F16, BF16)],
    *[(dtype, _number("Div", 0.995, dtype)) for dtype in (F16, BF16)],
    *[(dtype, _number("Pow", 1.0059, dtype)) for dtype in (F16, BF16)],
    *[(dtype, _number("Mul", np.nextafter(dtype(1), dtype(2)), dtype)) for dtype in (F16, F32, F64)],
    *[(dtype, _number("Add", 1e-30, dtype)) for dtype in (F32, F64)],
    # -0 + 0 is +0, as is -0 - -0
    (F32, _number("Add", 0.0, F32)),
    (F16, _number("Sub", -0.0, F16)),
    (F32, _number("Add", [-0.0, 0.0, -0.0], F32)),
    # floats are not reals
    (F32, lambda b, x: b("Sub", b("Add", x, 12582912.0), 12582912.0)),
    (F32, lambda b, x: b("Mul", b("Mul", x, 1e30), 1e-30)),
    (F32, lambda b, x: b("Mul", x, 0.0)),
    (F32, lambda b, x: b("Div", 0.0, x)),
    (F32, lambda b, x: b("Sub", x, x)),
    (F32, lambda b, x: b("Div", x, x)),
    (F32, lambda b, x: b("Equal", x, x)),
    # a softmax without the maximum overflows
    (F32, lambda b, x: softmax(b, x, False)),
    # NaN is hidden even where the mask is finite: x may have an infinity
    (F32, lambda b, x: guarded_softmax(b, x, -1e9)),
    # sqrt(2) of two digits is another number
    (F32, lambda b, x: gelu_tail(b, x, b("Add", 1.0, b("Erf", b("Div", x, 1.414))), 0)),
]


@pytest.mark.parametrize(("dtype", "body"), LEFT_ALONE)
def test_is_left_alone(dtype: Any, body: Body) -> None:
    graph = build((4, 3), body, dtype)
    before = graph.text()
    apply(graph, *RULES)
    assert graph.text() == before


@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64])
def test_gelu_of_rounded_constants(dtype: Any) -> None:
    def body(b: B, x: V) -> V:
        half, one, root = (np.asarray(v, dtype) for v in (0.5, 1.0, np.sqrt(2)))
        return b("Mul", b("Mul", x, half), b("Add", b("Erf", b("Div", x, root)), one))

    graph = build((3, 4), body, dtype)
    apply(graph, *RULES)
    assert ops(graph) == ["Gelu"]


@pytest.mark.parametrize(
    ("body", "after"),
    [
        (layer_norm, ["LayerNormalization"]),
        (lambda b, x: b("Mul", rms(0)(b, x), b.c(8)), ["RMSNormalization"]),
    ],
)
def test_norms_are_raised_in_steps(body: Body, after: list[str]) -> None:
    names = ("RmsNorm", "CenteredRmsNorm", "NormScale", "NormBias")
    before = build(("n", 3, 8), body)
    graph = before.clone()
    apply(graph, *map(_rule, names))
    assert ops(graph) == after
    assert_same_numbers(before, graph)


def test_every_rule_is_tested_and_named_by_an_equation() -> None:
    fired = {case.rule for case in FIRES} | {"CenteredRmsNorm", "NormScale", "NormBias", "ConstantReshape"}
    assert {type(rule).__name__ for rule in RULES} == fired
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all("=>" in name for name in names)


def test_merging_reshapes_keeps_one_unknown_dim() -> None:
    graph = build(("n", "m", 4), lambda b, x: b("Reshape", b("Reshape", x, np.array([0, -1])), np.array([-1, 2])))
    before = graph.clone()
    apply(graph, ReshapeOfReshape())
    assert ops(graph) == ["Reshape"]
    assert_same_numbers(before, graph)
