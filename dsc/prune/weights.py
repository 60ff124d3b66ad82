"""The weights of a model that may be pruned, its tables of rows, and what stands against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from dsc.quantize.layers import Layer, find_layers
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network, attribute
from dsc.sparsity import Pattern

_SMALL_DEPTH = 32
"""Products of a group of a convolution that are no longer than this stay dense where a group has one output: a
depthwise convolution has few weights, and each is needed."""


@dataclass(frozen=True)
class Weight:
    """A constant factor of one product, or of several; or a table, of which Gather reads rows.

    name: of the first product that reads it, as policies have it. shape: of the tensor. refusal: why no pattern fits
    it, in words. dense: why it stays as it is unless a policy names it. padded: what the pattern does not divide.
    """

    name: str
    layers: tuple[Layer, ...]
    shape: tuple[int, ...]
    refusal: str | None = None
    dense: str | None = None
    padded: str = ""

    @property
    def layer(self) -> Layer:
        """The first product, after which it is pruned."""
        return self.layers[0]

    @property
    def is_table(self) -> bool:
        """Whether it is one: pruned by magnitude, whatever data there is."""
        return self.layer.op == "Gather"

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


_UNKNOWN = ("Einsum", "GRU", "LSTM", "RNN")
"""Operators that multiply by constants, too, which stay as they are."""


def find_weights(network: Network, pattern: Pattern) -> list[Weight]:
    """The weights of all products, in the order in which they are first read, then those that none of them reads."""
    readers: dict[str, list[Layer]] = {}
    for layer in find_layers(network):
        readers.setdefault(layer.weight if network.is_constant(layer.weight) else layer.name, []).append(layer)
    return [*(_weight(network, tuple(layers), pattern) for layers in readers.values()), *_others(network)]


def _others(network: Network) -> list[Weight]:
    """Of operators that hold no product in a form that is known: named, so that a report leaves out nothing."""
    found = []
    for node in network.nodes:
        names = [
            name for name in node.input if node.op_type in _UNKNOWN and not node.domain and network.is_constant(name)
        ]
        for name in names[:1]:
            array = network.constant(name)
            assert array is not None  # it is constant
            refusal = f"dsc prunes no {node.op_type}"
            layer = Layer(node.name, node.op_type, node.input[0], name, node.output[0], None, 0, False, refusal)
            found.append(Weight(node.name, (layer,), tuple(array.shape), refusal))
    return found


def find_tables(network: Network, pattern: Pattern) -> list[Weight]:
    """The constant matrices of float32 that Gather takes rows of: those count as outputs."""
    found: dict[str, list[Layer]] = {}
    for node in network.nodes:
        if node.op_type == "Gather" and not node.domain and _has_rows(network, node):
            table, rows = node.input
            layer = Layer(node.name, node.op_type, rows, table, node.output[0], None, 0, False, None)
            found.setdefault(table, []).append(layer)
    return [_weight(network, tuple(layers), pattern) for layers in found.values()]


def _has_rows(network: Network, node: onnx.NodeProto) -> bool:
    table = network.constant(node.input[0])
    is_matrix = table is not None and table.ndim == 2 and table.dtype == np.float32
    return is_matrix and attribute(node, "axis", 0) % 2 == 0


def _weight(network: Network, layers: tuple[Layer, ...], pattern: Pattern) -> Weight:
    first = layers[0]
    array = network.constant(first.weight)
    shape = () if array is None else tuple(array.shape)
    refusal = "" if array is None else _shared(network, layers)
    if first.refusal is not None:
        refusal = f"dsc prunes no {first.op}" if first.op == "ConvTranspose" else first.refusal
    if refusal:
        return Weight(first.name, layers, shape, refusal)
    matrices = Matrices.of(network, first)
    if matrices.groups > 1 and matrices.width % pattern.outputs:
        return Weight(first.name, layers, shape, f"its groups have {matrices.width} outputs, which {pattern} cuts")
    few = matrices.width == 1 and matrices.depth <= _SMALL_DEPTH
    dense = "it is depthwise: few weights, all needed" if few else None
    return Weight(first.name, layers, shape, dense=dense, padded=_padded(matrices, pattern))


def _shared(network: Network, layers: Sequence[Layer]) -> str:
    """Why a weight is no matter of its products alone."""
    first, names = layers[0], {layer.name for layer in layers}
    for reader in network.consumers[first.weight]:
        if reader.name not in names:
            kind = "table of rows" if first.op == "Gather" else "product"
            return f"{reader.name} reads its weight too, and is no {kind}"
    if first.weight in network.outputs:
        return "its weight is an output of the model"
    if len({(layer.op, layer.channels) for layer in layers}) > 1:
        return f"{layers[1].name} reads its weight the other way round"
    if any(layer.refusal for layer in layers):
        return f"{next(layer.name for layer in layers if layer.refusal)} reads its weight, and {layers[-1].refusal}"
    return ""


def _padded(matrices: Matrices, pattern: Pattern) -> str:
    """Which ends have smaller blocks."""
    outputs = matrices.width * matrices.groups
    step = pattern.depth * (pattern.limit[1] if pattern.limit else 1)
    parts = [f"{outputs} outputs in blocks of {pattern.outputs}"] if outputs % pattern.outputs else []
    parts += [f"a depth of {matrices.depth} in steps of {step}"] if matrices.depth % step else []
    return f"padded: {' and '.join(parts)}" if parts else ""
