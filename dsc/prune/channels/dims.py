"""The dims of a model's tensors, each index of which is an atom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
import onnx.shape_inference

from dsc.prune.channels.partition import Partition
from dsc.quantize.network import Network


@dataclass(frozen=True)
class Use:
    """A constant as one node reads it: another node's reading of it is a tensor of its own, since a copy can be."""

    node: str
    operand: int


Tensor: TypeAlias = str | Use
"""A computed tensor or an input, by its name, or a constant as it is used."""


@dataclass(frozen=True, eq=False)
class Dim:
    """atoms: one for each index; a single one where the size is not known."""

    atoms: np.ndarray
    known: bool

    @property
    def size(self) -> int:
        """How many indices, 1 where that is not known."""
        return len(self.atoms)


class UnknownRankError(Exception):
    """Nothing is known of a tensor's dims."""


class Dims:
    """The dims of each tensor, made when they are first asked for."""

    def __init__(self, network: Network, partition: Partition) -> None:
        self._network, self._partition = network, partition
        self._shapes = _shapes(network.model)
        self.made: dict[Tensor, tuple[Dim, ...]] = {}

    def operand(self, node: onnx.NodeProto, index: int) -> tuple[Dim, ...]:
        """Of what a node reads. Raises UnknownRankError."""
        name = node.input[index]
        array = self._network.constant(name)
        if array is None:
            return self.computed(name)
        return self._of(Use(node.name, index), array.shape)

    def computed(self, name: str) -> tuple[Dim, ...]:
        """Of an input, or of what a node makes. Raises UnknownRankError."""
        shape = self._shapes.get(name)
        if shape is None:
            raise UnknownRankError(name)
        return self._of(name, shape)

    def _of(self, tensor: Tensor, shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
        if tensor not in self.made:
            self.made[tensor] = tuple(
                Dim(self._partition.fresh(1 if size is None else size), size is not None) for size in shape
            )
        return self.made[tensor]


def _shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int | None, ...]]:
    """By ONNX's inference; of a dim that is not known, None."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        if value.type.HasField("tensor_type") and kind.HasField("shape"):
            dims = kind.shape.dim
            found[value.name] = tuple(int(d.dim_value) if d.HasField("dim_value") else None for d in dims)
    return found
