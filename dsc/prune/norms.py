"""Batch norms behind layers that were changed: their statistics anew."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.exchange.names import unique
from dsc.prune.biases import names_of
from dsc.prune.twins import Pair, Twins, are_same
from dsc.quantize.network import Network

_LEAST = 1e-3
"""A channel that varies less than this share of what it did keeps its statistics: there is nothing to scale."""


def has_constants(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node is a batch norm of constants, at inference."""
    return (
        node.op_type == "BatchNormalization"
        and len(node.output) == 1
        and all(network.is_constant(name) for name in node.input[1:])
    )


def reestimate(model: onnx.ModelProto, name: str, twins: Twins) -> None:
    """Give a batch norm of the pruned model the mean and variance with which its results have those of the float model.

    What it reads may be the same in both: then it stays as it is. With mean m and variance v of a channel in the float
    model, and n and w in the pruned one, its own mean a becomes ``n - (m - a) sqrt(w / v)``, its own variance times
    w / v.
    """
    node = next(node for node in model.graph.node if node.name == name)
    pairs = twins.pairs(node.input[0])
    if are_same(pairs):
        return
    twins.change(node.output[0])
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    mean, variance = (known[name].astype(np.float64) for name in node.input[3:5])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    (before, spread), (now, left) = _moments(pairs)
    ratio = np.divide(left, spread, out=np.ones_like(left), where=(spread > 0) & (left > _LEAST**2 * spread))
    made = now - (before - mean) * np.sqrt(ratio), np.maximum((variance + epsilon) * ratio - epsilon, 0.0)
    taken = names_of(model)
    for index, array in zip((3, 4), made, strict=True):
        name = unique(node.input[index], taken)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
        node.input[index] = name


def _moments(pairs: Iterable[Pair]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of each channel, in the float model and in the pruned one."""
    sums: list[list[np.ndarray]] = [[], []]
    count = 0
    for pair in pairs:
        for side, array in enumerate(pair):
            axes = tuple(axis for axis in range(array.ndim) if axis != 1)
            wide = array.astype(np.float64)
            sums[side].append(np.stack([wide.sum(axis=axes), np.square(wide).sum(axis=axes)]))
        count += pair[0].size // max(1, pair[0].shape[1])
    found = []
    for each in sums:
        mean, square = np.sum(each, axis=0) / max(1, count)
        found.append((mean, np.maximum(square - mean**2, 0.0)))
    return found
