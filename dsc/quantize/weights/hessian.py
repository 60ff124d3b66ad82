"""What is known of the inputs of layers: X^T X over all rows they are given, summed up sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from dsc.check.reference import Reference
from dsc.errors import UsageError
from dsc.exchange import export_model
from dsc.ir import Graph, shape_of
from dsc.quantize.weights.layers import Layer

Samples = Iterable[Mapping[str, np.ndarray]]
"""Inputs of a model by name, of one run after the other."""


def hessians(graph: Graph, layers: Sequence[Layer], data: Samples) -> dict[SSAValue, np.ndarray]:
    """X^T X ([k, k], float64) of each value that layers multiply by their weights.

    The model runs once for each sample, in ONNX Runtime; memory does not grow with their number.
    Raises UsageError where there are no samples, or some make a layer's inputs infinite or NaN.
    """
    values = list(dict.fromkeys(value for layer in layers for value in layer.inputs))
    reference = Reference(_watched(graph, values))
    sums = {value: np.zeros((_width(layers, value),) * 2) for value in values}
    count = 0
    for sample in data:
        count += 1
        found = reference.run(sample)
        for index, value in enumerate(values):
            rows = found[f"{_PREFIX}{index}"].reshape(-1, len(sums[value])).astype(np.float64)
            if not np.isfinite(rows).all():
                name = next(layer.name for layer in layers if value in layer.inputs)
                raise UsageError(f"sample {count} gives {name} inputs that are infinite or NaN")
            sums[value] += rows.T @ rows
    if not count:
        raise UsageError("the calibration data has no samples")
    return sums


_PREFIX = "dsc.quantize.input."


def _width(layers: Sequence[Layer], value: SSAValue) -> int:
    layer = next(layer for layer in layers if value in layer.inputs)
    shape = shape_of(layer.weight.out.type)
    assert shape is not None  # it is a matrix
    return shape[layer.depth]


def _watched(graph: Graph, values: Sequence[SSAValue]) -> bytes:
    """The model with `values` as outputs; the graph is as before."""
    outputs = list(zip(graph.output_names, graph.outputs, strict=True))
    graph.set_outputs([(f"{_PREFIX}{index}", value) for index, value in enumerate(values)])
    try:
        return bytes(export_model(graph).SerializeToString())
    finally:
        graph.set_outputs(outputs)
