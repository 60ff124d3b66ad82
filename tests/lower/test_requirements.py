"""Requirements: every operator has been thought of, and each relation means what it says."""

from __future__ import annotations

import pytest
from tvm import tirx

from dsc.ir import OPERATORS, Fact
from dsc.lower.exprs import simplify
from dsc.lower.registry import RULES as LOWERINGS
from dsc.lower.requirements.requirement import RULES, Relation, Requirement

ANY_SIZES = frozenset({
    # one operand, element by element
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitCast", "BitwiseNot", "Cast", "CastLike", "Ceil",
    "Celu", "Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
    # along axes of one operand
    "CumProd", "CumSum", "DynamicQuantizeLinear", "Flatten", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
    "Hardmax", "LRN", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Softmax", "Transpose", "Trilu", "Unsqueeze",
    # the sizes of the result are all that matters, and those of every op are checked
    "AveragePool", "BlackmanWindow", "CenterCropPad", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow",
    "LpPool", "MaxPool", "Range",
    # indices are data: `dsc.lower.requirements.indices`; limits are cut to the tensor
    "Gather", "Slice",
})  # fmt: skip
"""Operators whose lowering stays inside of its operands whatever their sizes are."""


def test_every_operator_has_requirements_or_none_on_purpose() -> None:
    lowered = {name.removeprefix("onnx.") for name in LOWERINGS}
    stated = {name.removeprefix("onnx.") for name in RULES}
    assert lowered - stated - OPERATORS[Fact.BROADCASTS] == ANY_SIZES
    assert stated <= lowered


@pytest.mark.parametrize(
    ("relation", "holds", "fails"),
    [
        (Relation.EQUAL, [(3, 3)], [(3, 4), (1, 3)]),
        (Relation.BROADCAST, [(3, 3), (1, 3), (3, 1), (0, 0)], [(3, 4), (0, 3), (0, 1)]),
        (Relation.AT_MOST, [(3, 3), (2, 3)], [(4, 3)]),
        (Relation.AT_LEAST, [(3, 3), (4, 3)], [(2, 3)]),
        (Relation.MULTIPLE, [(6, 3), (0, 3)], [(7, 3)]),
    ],
)
def test_relations(relation: Relation, holds: list[tuple[int, int]], fails: list[tuple[int, int]]) -> None:
    for left, right in (*holds, *fails):
        requirement = Requirement(left, relation, right, "sizes")
        assert requirement.decided() is ((left, right) in holds)
        assert bool(simplify(requirement.condition())) is ((left, right) in holds)


def test_what_holds_for_all_sizes_is_not_checked() -> None:
    n, m = (tirx.Var(name, "int64") for name in "nm")
    assert Requirement(n * 768 * m, Relation.EQUAL, m * 12 * n * 64, "").decided() is True
    assert Requirement(tirx.min(n, 512), Relation.AT_MOST, 512, "").decided() is True
    assert Requirement(n + 1, Relation.AT_LEAST, 1, "").decided() is True
    assert Requirement(n + 3, Relation.AT_MOST, 2, "").decided() is False
    assert Requirement(n, Relation.EQUAL, m, "").decided() is None
