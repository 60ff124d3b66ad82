"""The second opinion: onnx.reference, which computes operators as the ONNX specification defines them.

It is slow and written for clearness, so it is asked only about single ops, where ONNX Runtime and a kernel disagree.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx.reference import ReferenceEvaluator

from dsc.exchange import export_model
from dsc.ir import Graph


def by_specification(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The outputs of a graph; None where onnx.reference has no implementation of an op or fails on it."""
    model = export_model(graph)
    try:
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(model).run(None, dict(inputs))
    except Exception:  # it raises whatever numpy and its own code raise
        return None
    return {name: np.asarray(value) for name, value in zip(graph.output_names, values, strict=True)}
