"""How many numbers the weights of products have when some units are gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import prod

import onnx

from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.dims import Use
from dsc.prune.channels.groups import Group
from dsc.quantize.layers import PRODUCTS


class Sizes:
    """The constant factors of a model's products, in its order, and the nodes that read them.

    nodes: the first of each factor. readers: the names of all.
    """

    def __init__(self, coupling: Coupling) -> None:
        self._coupling = coupling
        self.nodes: dict[Use, onnx.NodeProto] = {}
        self.readers: dict[Use, list[str]] = {}
        first: dict[str, Use] = {}
        for node in coupling.network.nodes:
            if node.op_type in PRODUCTS and not node.domain:
                constant = [i for i, name in enumerate(node.input[:2]) if coupling.network.is_constant(name)]
                if len(constant) == 1 and coupling.read_by(node, constant[0]):
                    use = first.setdefault(node.input[constant[0]], Use(node.name, constant[0]))
                    self.nodes.setdefault(use, node)
                    self.readers.setdefault(use, []).append(node.name)

    @property
    def weights(self) -> list[Use]:
        """All of them."""
        return list(self.nodes)

    def size(self, use: Use) -> int:
        """How many numbers it has."""
        return prod(dim.size for dim in self._coupling.dims_of(use))

    @property
    def total(self) -> int:
        """Of all weights."""
        return sum(map(self.size, self.nodes))

    def left(self, gone: Mapping[Group, int], worth: Mapping[Use, float] | None = None) -> float:
        """Of all weights, when so many units of groups are gone. worth: what each number of a weight counts, else 1."""
        lost: dict[tuple[Use, int], int] = defaultdict(int)
        for group, count in gone.items():
            for (tensor, axis), times in group.counts.items():
                if isinstance(tensor, Use) and tensor in self.nodes:
                    lost[tensor, axis] += times * count
        return sum(
            prod(dim.size - lost[use, axis] for axis, dim in enumerate(self._coupling.dims_of(use)))
            * (1 if worth is None else worth[use])
            for use in self.nodes
        )

    def gain(self, group: Group, worth: Mapping[Use, float] | None = None) -> float:
        """How many numbers go with the first unit of a group, or what they are worth."""
        found = 0.0
        for (tensor, axis), times in group.counts.items():
            if isinstance(tensor, Use) and tensor in self.nodes:
                each = 1 if worth is None else worth[tensor]
                found += times * each * self.size(tensor) / self._coupling.dims_of(tensor)[axis].size
        return found

    def makers(self, group: Group) -> list[str]:
        """The products whose outputs, or groups, go with units of a group."""
        summed = {(c.weight, c.axis) for c in group.contractions}
        return [use.node for use in self.nodes for key in group.counts if key[0] == use and key not in summed]

    def reason(self, use: Use) -> str:
        """Why nothing went of a weight, in words."""
        dims = self._coupling.dims_of(use)[:2]
        said = [self._coupling.reason(dim) for dim in dims if dim.size > 1]
        return "; ".join(dict.fromkeys(said)) if all(said) else "too sensitive for what is asked"

    def why(self) -> str:
        """What stands against it in the first products, in words."""
        return "; ".join(dict.fromkeys(map(self.reason, list(self.nodes)[:4]))) or "no products of constants"
