"""Where tensors become bytes: before the products that are quantized, and before what only moves elements to them.

MaxPool, Reshape, Transpose, Concat and the like pass bytes on as they are, so what they read and what they give has one
scale: that of all they read together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx

from dsc.quantize.calibration.ranges import Range
from dsc.quantize.network import Network

_MOVES = ("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice")


@dataclass
class Placement:
    """The tensors that become bytes, in groups of one scale: for each its group's first tensor."""

    _leader: dict[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> list[str]:
        """All that become bytes."""
        return list(self._leader)

    def leader(self, tensor: str) -> str:
        """The tensor that stands for its group."""
        while self._leader[tensor] != tensor:
            tensor = self._leader[tensor]
        return tensor

    def add(self, tensor: str) -> bool:
        """Take a tensor in; whether it is new."""
        if tensor in self._leader:
            return False
        self._leader[tensor] = tensor
        return True

    def unite(self, one: str, other: str) -> None:
        """Give two tensors, and those of their groups, one scale."""
        self._leader[self.leader(one)] = self.leader(other)

    def ranges(self, network: Network, found: Mapping[str, Range]) -> dict[str, Range]:
        """The range of each tensor: that of all tensors of its group which are not only moved there."""
        joined: dict[str, Range] = {}
        for tensor in self.tensors:
            if moved_from(network, tensor):
                continue
            leader, range_ = self.leader(tensor), found[tensor]
            known = joined.get(leader, range_)
            joined[leader] = Range(min(known.low, range_.low), max(known.high, range_.high))
        return {tensor: joined[self.leader(tensor)] for tensor in self.tensors}


def place(network: Network, wanted: Iterable[str]) -> Placement:
    """The tensors that become bytes where those `wanted` do."""
    placement, open_ = Placement(), list(dict.fromkeys(wanted))
    while open_:
        tensor = open_.pop()
        placement.add(tensor)
        for source in moved_from(network, tensor):
            if placement.add(source):
                open_.append(source)
            placement.unite(source, tensor)
    return placement


def moved_from(network: Network, tensor: str) -> list[str]:
    """The tensors whose elements a tensor holds, unchanged; none where it is computed, or partly constant."""
    node = network.producers.get(tensor)
    if node is None or not moves(node):
        return []
    sources = list(node.input) if node.op_type == "Concat" else [node.input[0]]
    return [] if any(network.is_constant(source) for source in sources) else sources


def moves(node: onnx.NodeProto) -> bool:
    """Whether a node gives nothing but elements of what it reads."""
    return not node.domain and len(node.output) == 1 and node.op_type in (*_MOVES, "Concat")
