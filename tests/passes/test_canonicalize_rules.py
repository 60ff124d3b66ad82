"""Every rule of canonicalization: before and after, and the numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from dsc.passes.canonicalize import RULES
from dsc.passes.canonicalize.reshapes import ReshapeOfReshape
from tests.passes.canonicalize_bodies import (
    BF16,
    F16,
    F32,
    F64,
    I64,
    IMAGE,
    B,
    Body,
    V,
    channels,
    conv,
    conv_transpose,
    gelu_erf,
    gelu_tanh,
    if_constant,
    keys,
    layer_norm,
    matmul_reshaped,
    norm_params,
    relu6,
    rms,
    rule_named,
    softmax,
    tensorflow_norm,
)
from tests.passes.equations import apply, assert_same_numbers, build, ops


class Case(NamedTuple):
    rule: str  # the class
    dims: tuple[int | str, ...]
    body: Body
    after: list[str]
    dtype: Any = np.float32


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
    Case(
        "TransposeOfGather",
        (3, 4),
        lambda b, x: b("Transpose", b("Gather", b.c(4, 5, 6), b("ArgMax", x, axis=1, keepdims=0)), perm=[0, 2, 1]),
        ["ArgMax", "Gather"],
    ),
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


@pytest.mark.parametrize("case", FIRES, ids=lambda case: case.rule)
def test_fires(case: Case) -> None:
    before = build(case.dims, case.body, case.dtype)
    after = before.clone()
    record = apply(after, rule_named(case.rule))
    assert ops(after) == case.after
    assert record.fired[rule_named(case.rule).name] >= 1
    assert_same_numbers(before, after)


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
    apply(graph, *map(rule_named, names))
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
