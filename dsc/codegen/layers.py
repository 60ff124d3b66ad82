"""What a report says of the layers of a model that has zeros in its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsc.codegen.emit import Emitted
from dsc.ir import Graph, SparseAttr, WeightOp, encoding_of, shape_of
from dsc.passes.sparsity.factors import Factor, factors
from dsc.passes.sparsity.patterns import zeros_of
from dsc.passes.sparsity.recognize import LEAST, obstacle
from dsc.sparsity import sparsity


@dataclass(frozen=True)
class Layer:
    """A product or convolution by a constant weight."""

    name: str
    """Of the node."""
    op: str
    shape: tuple[int, ...]
    """Of the weight."""
    zeros: float
    """Share of the weight's elements."""
    pattern: str
    """Of the blocks that are zero as a whole; empty where there are few."""
    kept: float
    """Share of these blocks that is occupied."""
    obstacle: str
    """Why no kernel was told of the zeros; empty where kernels were."""
    choice: int
    """What was decided for what it is part of, by its place in `CompiledModel.choices`."""
    parameters: tuple[str, ...]
    """The arrays that the weight is stored as, by their names in the file of weights."""


def sparse_layers(graph: Graph, emitted: Emitted) -> tuple[Layer, ...]:
    """The layers of a graph in which any has a weight with zeros enough to count; none otherwise."""
    found = list(factors(graph, through_casts=True))
    zeros = {factor.weight: _zeros(graph, factor.weight) for factor in found}
    if max(zeros.values(), default=0.0) < LEAST:
        return ()
    choices = {call.workload.op: call.code.choice for call in emitted.calls}
    names = [weight.name for weight in emitted.parameters.weights]
    return tuple(
        _layer(graph, factor, zeros[factor.weight], choices[factor.outer], names)
        for factor in found
        if factor.outer in choices
    )


def _zeros(graph: Graph, weight: WeightOp) -> float:
    return float(sparsity(np.asarray(graph.weights.get(weight.weight))))


def _layer(graph: Graph, factor: Factor, zeros: float, choice: int, names: Sequence[str]) -> Layer:
    op, weight, encoding = factor.op, factor.weight, encoding_of(factor.weight.out.type)
    pattern, kept, why = "", 1.0, ""
    if isinstance(encoding, SparseAttr):
        pattern, kept = encoding.pattern.data, encoding.density
    elif zeros < LEAST:
        why = "few zeros" if zeros else "no zeros"
    else:
        found = zeros_of(graph.weights.get(weight.weight), factor.axis, factor.depths)
        pattern, kept = str(found.pattern), float(found.density)
        why = obstacle(graph, weight) or "the pass sparsity did not run"
    arrays = tuple(name for name in names if name.partition(".")[2] == weight.weight)
    return Layer(
        op.node or weight.weight, op.name.removeprefix("onnx."), shape_of(weight.out.type) or (), zeros, pattern, kept,
        why, choice, arrays,
    )  # fmt: skip
