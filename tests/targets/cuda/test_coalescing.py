"""Regions of networks on odd sizes, by the kernels that are chosen for them: results, and what they use of memory."""

from __future__ import annotations

import onnxruntime
import pytest

from tests.coalescing.checked import assert_used, checked
from tests.coalescing.zoo import CONVOLUTIONS, DEPTHWISE, MOVES, PRODUCTS, model

REGIONS = [
    CONVOLUTIONS["stem 7x7"],
    CONVOLUTIONS["pointwise to 16"],
    CONVOLUTIONS["3x3 on 7x7"],
    DEPTHWISE["3x3 of 20"],
    MOVES["linear resize"],
    PRODUCTS["few columns"],
]
HALF_REGIONS = [CONVOLUTIONS["pointwise to 24"], CONVOLUTIONS["3x3 of 20"], PRODUCTS["of heads"]]


@pytest.mark.parametrize(("regions", "precision", "bound"), [(REGIONS, "fp32", 1e-5), (HALF_REGIONS, "fp16", 2e-3)])
def test_chosen_kernels_use_what_they_fetch(regions: list[str], precision: str, bound: float) -> None:
    """0.8 of all together, 0.7 of each at least: a stem, results of 16 channels, small maps, blocks of 4 channels, rows
    that are no vectors; on matrices, factors that are rounded on their way, and results of odd rows.

    bound: of the difference, of the largest result; factors in float16 have 11 bits.
    """
    shares = checked(regions, "cuda:sm_80", precision, bound)
    assert len(shares) >= len(regions)
    assert_used(shares)


@pytest.mark.parametrize("text", [*CONVOLUTIONS.values(), *DEPTHWISE.values()])
def test_every_graph_of_the_survey_is_valid(text: str) -> None:
    onnxruntime.InferenceSession(model([text]).SerializeToString(), providers=["CPUExecutionProvider"])
