"""Attention in two-byte floats: nearer to the exact values than ONNX's reference, whose steps are rounded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from ml_dtypes import bfloat16, finfo
from onnx.reference import ReferenceEvaluator

from tests.meaning.cases import HALF, Case, core_cases, results

NAMES = [
    f"test_attention_{name}"
    for name in (
        "3d_causal_bf16", "4d_causal_bf16", "4d_causal_fp16", "4d_attn_mask_causal_bf16", "4d_padded_kv_bf16",
        "4d_causal_padded_kv_bf16",
    )
]  # fmt: skip
"""The cases where the two differ by more than a single rounding: in all of them by two units in some elements."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case for case in core_cases() if case.name in NAMES]


def test_attention_is_no_further_from_the_exact_values_than_the_expected_are(cases: list[Case]) -> None:
    assert len(cases) == len(NAMES)
    for case, given in ((c, results([c])[0]) for c in cases):
        exact, expected = _in_doubles(case), case.expected["Y"]
        ours, theirs = _units(given["Y"], exact), _units(expected, exact)
        assert ours.max() < 1.4, case.name
        assert ours.max() < theirs.max(), case.name
        assert ours.mean() < theirs.mean(), case.name


def _in_doubles(case: Case) -> np.ndarray:
    """What ONNX's reference gives for the same numbers as doubles."""
    wide = onnx.ModelProto()
    wide.CopyFrom(case.model)
    for value in (*wide.graph.input, *wide.graph.output):
        if value.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16):
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    feeds = {n: a.astype(np.float64) if a.dtype in HALF else a for n, a in case.feeds.items()}
    (found,) = ReferenceEvaluator(wide).run(["Y"], feeds)
    assert found.dtype == np.float64
    return np.asarray(found)


def _units(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """How far each element is off, in units in the last place of its type."""
    assert found.dtype in (np.float16, bfloat16)
    size = np.exp2(np.floor(np.log2(np.maximum(np.abs(exact), 1e-30)))) * float(finfo(found.dtype).eps)
    return np.asarray(np.abs(found.astype(np.float64) - exact) / size)
