"""Where rules of canonicalization do not fire, and the reasons they give."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from dsc.passes.canonicalize import RULES
from tests.passes.canonicalize_bodies import (
    BF16,
    F16,
    F32,
    F64,
    IMAGE,
    B,
    Body,
    V,
    conv,
    gelu_tail,
    guarded_softmax,
    mean,
    norm_params,
    relu6,
    rms,
    rule_named,
    softmax,
    tensorflow_norm,
    variance,
)
from tests.passes.equations import apply, build


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
    Refusal(
        "TransposeOfGather",
        (3, 4),
        lambda b, x: b("Transpose", b("Gather", b.c(4, 5, 6), b("ArgMax", x, axis=1, keepdims=0)), perm=[1, 0, 2]),
        "it moves dims of the indices",
    ),
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


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.rule)
def test_refuses(case: Refusal) -> None:
    graph = build(case.dims, case.body, case.dtype)
    before = graph.text()
    record = apply(graph, rule_named(case.rule))
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
