"""NaN and infinity where numpy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lower.node_cases import op_case, outcomes

A = np.array([np.nan, 1, np.nan, -np.inf, np.inf, -0.5], np.float32)
B = np.array([1, np.nan, np.nan, 2, np.inf, 3], np.float32)
ZERO, SIX = np.array(0, np.float32), np.array(6, np.float32)


@pytest.mark.parametrize(
    ("op_type", "operands", "expected"),
    [
        ("Max", [A, B], np.maximum(A, B)),
        ("Min", [A, B], np.minimum(A, B)),
        ("Max", [A, ZERO], np.maximum(A, 0)),
        ("Relu", [A], np.maximum(A, 0)),
        ("Clip", [A, ZERO, SIX], np.clip(A, 0, 6)),
        ("IsInf", [A], np.isinf(A)),
        ("IsNaN", [A], np.isnan(A)),
        ("Sign", [B[3:]], np.sign(B[3:])),
    ],
)
def test_special_values(op_type: str, operands: list[Any], expected: np.ndarray) -> None:
    assert outcomes([op_case("case", op_type, operands, [expected], {})]) == {"case": "ok"}
