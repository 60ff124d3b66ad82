"""Where the weights of an ONNX model have zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsc.cli.console import print_table
from dsc.sparsity import matrix_of, sparsity

if TYPE_CHECKING:
    from dsc.ir import Graph
    from dsc.passes.sparsity.stored import StoredFactor


@dataclass(frozen=True)
class WeightZeros:
    """Of a product or convolution."""

    layer: str
    op: str
    shape: tuple[int, ...]
    element: str
    zeros: float
    """Share of elements."""
    pattern: str
    """That the zeros follow best; empty where there are few."""
    kept: float
    """Share of the pattern's blocks that are occupied."""
    empty_outputs: int
    empty_inputs: int
    """Of convolutions, input channels of a group."""


def zeros_of_weights(graph: Graph) -> list[WeightZeros]:
    """Those of a model as it was imported, in its order."""
    from dsc.passes.sparsity.stored import stored_factors

    return [_zeros(factor) for factor in stored_factors(graph)]


def print_zeros(found: Sequence[WeightZeros]) -> None:
    """A row for each weight, and the share of all."""
    columns = ["layer", "op", "weight", "type", "zeros %", "pattern", "kept %", "empty outputs", "empty inputs"]
    print_table(columns, [_row(each) for each in found])
    sizes = [int(np.prod(each.shape)) for each in found]
    zeros = sum(size * each.zeros for size, each in zip(sizes, found, strict=True))
    print(f"{zeros / max(1, sum(sizes)):.1%} of {sum(sizes):,} weights of products and convolutions are 0")


def _zeros(factor: StoredFactor) -> WeightZeros:
    from dsc.passes.sparsity.patterns import best_pattern
    from dsc.passes.sparsity.recognize import LEAST

    data, share = factor.data, sparsity(factor.data)
    pattern, kept = "", 1.0
    if share >= LEAST:
        best = best_pattern(data, factor.axis)
        pattern, kept = str(best.pattern), best.density
    outputs = matrix_of(data, factor.axis).any(axis=1)
    inputs = matrix_of(data, 1).any(axis=1) if factor.axis == 0 else data.any(axis=1)
    op = factor.op
    return WeightZeros(
        op.node, op.name.removeprefix("onnx."), tuple(data.shape), data.dtype.name, share, pattern, float(kept),
        int(np.sum(~outputs)), int(np.sum(~inputs)),
    )  # fmt: skip


def _row(each: WeightZeros) -> list[str]:
    kept = f"{100 * each.kept:.1f}" if each.pattern else ""
    empty = [str(count or "") for count in (each.empty_outputs, each.empty_inputs)]
    shape = "x".join(map(str, each.shape))
    return [each.layer, each.op, shape, each.element, f"{100 * each.zeros:.1f}", each.pattern, kept, *empty]
