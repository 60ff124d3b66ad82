"""Facts about operators: every operator has been thought of, and what the table says is so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dsc.exchange import evaluate
from dsc.ir import OPERATORS, Fact, Graph, dims_of, encoding_parameters, has, onnx, tensor
from dsc.ir.onnx.facts import ENCODING_PARAMETERS, IMPLIED

NOTHING = frozenset({
    # of shapes, or of attributes alone
    "BlackmanWindow", "Constant", "HammingWindow", "HannWindow", "MelWeightMatrix", "Shape", "Size",
    # computed of several elements, in ways of their own
    "AffineGrid", "BatchNormalization", "GridSample", "Resize", "RoiAlign", "RotaryEmbedding",
    # results whose shapes are data, or that are no tensors of numbers
    "ConcatFromSequence", "ImageDecoder", "NonMaxSuppression", "NonZero", "Optional", "OptionalGetElement",
    "OptionalHasElement", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit",
    "TfIdfVectorizer",
    # control flow: what its bodies do
    "If", "Loop", "Scan", "SequenceMap",
})  # fmt: skip
"""Operators of which the table states nothing."""

KINDS = (Fact.CONVOLUTION, Fact.PRODUCT, Fact.REDUCTION, Fact.POOL, Fact.NORMALIZATION, Fact.SOFTMAX, Fact.ELEMENTWISE)


def test_every_operator_has_facts_or_none_on_purpose() -> None:
    stated = frozenset().union(*OPERATORS.values(), ENCODING_PARAMETERS)
    assert set(onnx.OPS) - stated == NOTHING
    assert stated <= set(onnx.OPS)
    assert set(OPERATORS) == set(Fact)


@pytest.mark.parametrize(("one", "other"), [(one, other) for one, others in IMPLIED.items() for other in others])
def test_one_fact_implies_another(one: Fact, other: Fact) -> None:
    assert OPERATORS[one] < OPERATORS[other]


def test_an_operator_is_of_one_kind() -> None:
    assert sum(len(OPERATORS[kind]) for kind in KINDS) == len(frozenset().union(*(OPERATORS[kind] for kind in KINDS)))


def test_ops_of_other_dialects_have_no_facts() -> None:
    graph = Graph.build([("x", tensor(np.float32, (2,)))])
    relu = onnx.Relu.make(graph.inputs[0])
    weight = graph.make_constant(np.zeros(100, np.float32))
    assert has(relu, Fact.CHEAP)
    assert not any(has(weight, fact) for fact in Fact)


def test_parameters_of_encodings_are_the_scales_and_zero_points_of_the_schemas() -> None:
    """Scales of another sense are those of normalizations, which are weights, and of Resize."""
    others = OPERATORS[Fact.NORMALIZATION] | {"BatchNormalization", "Resize"}
    for name, op_type in onnx.OPS.items():
        named = [p.name.lower() for p in op_type.onnx_schema.inputs]
        found = {i for i, n in enumerate(named) if "scale" in n or "zero_point" in n}
        assert ENCODING_PARAMETERS.get(name, frozenset()) == (frozenset() if name in others else found), name


def test_an_op_is_asked_for_its_parameters() -> None:
    graph = Graph.build([("x", tensor(np.int8, (2,))), ("scale", tensor(np.float32, ()))])
    assert encoding_parameters(onnx.DequantizeLinear.make(*graph.inputs)) == {1, 2}
    assert not encoding_parameters(onnx.Cast.make(graph.inputs[0], to=1))


@pytest.mark.parametrize("name", sorted(OPERATORS[Fact.BROADCASTS]))
def test_broadcasting_operators_have_the_shape_of_all_operands(name: str) -> None:
    count = 3 if name == "Where" else 2
    dtype = bool if name in ("And", "Or", "Xor") else np.uint8 if name.startswith("Bit") else np.float32
    shapes = [(2, 1), (1, 3), (1, 1)][:count]
    dtypes = [bool if name == "Where" and i == 0 else dtype for i in range(count)]
    graph = Graph.build([(f"x{i}", tensor(d, s)) for i, (d, s) in enumerate(zip(dtypes, shapes, strict=True))])
    attributes: dict[str, Any] = {"direction": "LEFT"} if name == "BitShift" else {"fmod": 1} if name == "Mod" else {}
    assert dims_of(onnx.OPS[name].make(*graph.inputs, **attributes).out.type) == (2, 3)


def _computed(name: str, arrays: Sequence[np.ndarray], **attributes: Any) -> list[np.ndarray]:
    graph = Graph.build([(f"x{i}", tensor(a.dtype, a.shape)) for i, a in enumerate(arrays)])
    op = onnx.OPS[name].make(*graph.inputs, **attributes)
    return evaluate(op, dict(zip(op.operands, arrays, strict=True)))


@pytest.mark.parametrize("name", sorted(OPERATORS[Fact.COMMUTATIVE]))
def test_operands_of_commutative_operators_may_be_swapped(name: str) -> None:
    dtype = bool if name in ("And", "Or", "Xor") else np.uint8 if name.startswith("Bit") else np.float32
    a, b = np.random.default_rng(0).integers(0, 3, (2, 50)).astype(dtype)
    assert (a != b).any()
    np.testing.assert_array_equal(_computed(name, [a, b])[0], _computed(name, [b, a])[0])


X = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 2, 2)
MOVED: dict[str, tuple[list[np.ndarray], dict[str, Any]]] = {
    "Compress": ([np.array([True, False, True])], {}),
    "DepthToSpace": ([], {"blocksize": 2}),
    "Expand": ([np.array([3, 4, 2, 2])], {}),
    "Flatten": ([], {}),
    "Gather": ([np.array([0])], {}),
    "GatherElements": ([np.array([[[[0, 0]]]])], {}),
    "GatherND": ([np.array([[0, 1]])], {}),
    "Identity": ([], {}),
    "Reshape": ([np.array([4, 4])], {}),
    "ReverseSequence": ([np.array([1, 1, 1, 1])], {"batch_axis": 1, "time_axis": 0}),
    "Slice": ([np.array([1]), np.array([3]), np.array([1])], {}),
    "SpaceToDepth": ([], {"blocksize": 2}),
    "Split": ([np.array([1, 3])], {"axis": 1, "outputs": 2}),
    "Squeeze": ([np.array([0])], {}),
    "Tile": ([np.array([2, 1, 1, 3])], {}),
    "Transpose": ([], {"perm": [0, 2, 3, 1]}),
    "Unsqueeze": ([np.array([0])], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OPERATORS[Fact.MOVES]))
def test_moving_operators_give_elements_of_their_operand(name: str) -> None:
    others, attributes = MOVED[name]
    results = _computed(name, [X, *others], **attributes)
    for result in results:
        assert set(result.reshape(-1)) <= set(X.reshape(-1))
    if name in OPERATORS[Fact.VIEW]:
        assert results[0].tobytes() == X.tobytes()
