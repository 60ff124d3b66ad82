"""Batch norms behind layers that were changed: their statistics anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.exchange.names import unique
from dsc.prune.biases import names_of
from dsc.prune.twins import Pair, Twins, are_same
from dsc.quantize.network import Network

_LEAST = 1e-3
"""A channel's slope at least: one that tells nothing any more becomes nearly constant."""


def has_constants(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node is a batch norm of constants, at inference."""
    return (
        node.op_type == "BatchNormalization"
        and len(node.output) == 1
        and all(network.is_constant(name) for name in node.input[1:])
    )


def reestimate(model: onnx.ModelProto, name: str, twins: Twins) -> None:
    """Give a batch norm of the pruned model the mean and variance with which its results are nearest those of the float
    model, in squares.

    What it reads may be the same in both: then it stays as it is. A channel x of the float model, of mean m, is told
    best by one y of the pruned model, of mean n, as ``m + s (y - n)``, where s is their covariance by y's variance: its
    own mean a becomes ``n - (m - a) / s``, its own variance is divided by s squared. (Bringing y's variance to that of
    x, as training would, makes errors larger: what weights refitted by least squares lose is noise, which has no part
    in y.)
    """
    node = next(node for node in model.graph.node if node.name == name)
    pairs = twins.pairs(node.input[0])
    if are_same(pairs):
        return
    twins.change(node.output[0])
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    mean, variance = (known[name].astype(np.float64) for name in node.input[3:5])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    found = _line(pairs)
    made = (
        found.after - (found.before - mean) / found.slope,
        np.maximum((variance + epsilon) / found.slope**2 - epsilon, 0.0),
    )
    taken = names_of(model)
    for index, array in zip((3, 4), made, strict=True):
        name = unique(node.input[index], taken)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
        node.input[index] = name


@dataclass(frozen=True)
class _Line:
    """What tells a channel of the float model best by that of the pruned one: both means, and a slope."""

    before: np.ndarray
    after: np.ndarray
    slope: np.ndarray


def _line(pairs: Iterable[Pair]) -> _Line:
    """Of each channel; of one that never changes any more, the slope is 1."""
    sums: np.ndarray | float = 0.0
    count = 0
    for pair in pairs:
        axes = tuple(axis for axis in range(pair[0].ndim) if axis != 1)
        x, y = (array.astype(np.float64) for array in pair)
        sums = sums + np.stack([each.sum(axis=axes) for each in (x, y, x * y, y * y)])
        count += pair[0].size // max(1, pair[0].shape[1])
    before, after, product, square = np.asarray(sums) / max(1, count)
    varies = square - after**2 > 1e-12 * square
    slope = np.divide(product - before * after, square - after**2, out=np.ones_like(after), where=varies)
    return _Line(before, after, np.maximum(slope, _LEAST))
