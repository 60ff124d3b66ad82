"""Regions side by side in one model, run on a simulated GPU: right, and what each kernel uses of what it fetches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from dsc.check.simulated import simulated
from dsc.pipeline import compile_model
from dsc.targets import target
from tests.coalescing.survey import Fetched, fetched
from tests.coalescing.zoo import feeds, model


def checked(regions: Sequence[str], tag: str, precision: str, bound: float) -> list[Fetched]:
    """Of every kernel, after the results were compared with ONNX Runtime's.

    bound: of the difference, of the largest result.
    """
    graph = model(regions)
    given = feeds(graph)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, given)
    with simulated(target(tag)) as (onto, simulation):
        compiled = compile_model(graph, target=onto, precision=precision).model
        found = compiled.load(1).run(given)
        counted = fetched(compiled.choices, simulation.counters())
    for value, wanted in zip(graph.graph.output, expected, strict=True):
        scale = float(np.abs(wanted).max())
        np.testing.assert_allclose(found[value.name] / scale, wanted / scale, atol=bound, err_msg=value.name)
    return counted


def assert_used(kernels: Sequence[Fetched]) -> None:
    """0.7 of what each fetches, and 0.8 of all together, at least."""
    for each in kernels:
        assert each.share >= 0.7, each.choice
    assert sum(each.ideal for each in kernels) >= 0.8 * sum(each.sectors for each in kernels)
