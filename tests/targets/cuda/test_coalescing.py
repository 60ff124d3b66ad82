"""Regions of networks on odd sizes, by the kernels that are chosen for them: results, and what they use of memory."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from dsc.check.simulated import simulated
from dsc.pipeline import compile_model
from dsc.targets import target
from tests.coalescing.survey import fetched
from tests.coalescing.zoo import CONVOLUTIONS, DEPTHWISE, MOVES, PRODUCTS, feeds, model

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
    graph = model(regions)
    given = feeds(graph)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, given)
    with simulated(target("cuda:sm_80")) as (onto, simulation):
        compiled = compile_model(graph, target=onto, precision=precision).model
        found = compiled.load(1).run(given)
        shares = fetched(compiled.choices, simulation.counters())
    for value, wanted in zip(graph.graph.output, expected, strict=True):
        scale = float(np.abs(wanted).max())
        np.testing.assert_allclose(found[value.name] / scale, wanted / scale, atol=bound, err_msg=value.name)
    assert len(shares) >= len(regions)
    for each in shares:
        assert each.share >= 0.7, each.choice
    assert sum(each.ideal for each in shares) >= 0.8 * sum(each.sectors for each in shares)


@pytest.mark.parametrize("text", [*CONVOLUTIONS.values(), *DEPTHWISE.values()])
def test_every_graph_of_the_survey_is_valid(text: str) -> None:
    onnxruntime.InferenceSession(model([text]).SerializeToString(), providers=["CPUExecutionProvider"])
