"""A model whose pruning is decided, before it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import onnx

from dsc.prune.plan import Work
from dsc.prune.pruned import Made


@dataclass(frozen=True)
class Draft:
    """model: with zeros, or without channels, where they will be; other weights are as they were. make: the work."""

    model: onnx.ModelProto
    make: Callable[[], Made]


class Drafting(Work, Protocol):
    """What makes drafts too."""

    def draft(self, left: float, costs: Mapping[str, float]) -> Draft:
        """The model of which a share of what its products cost is left, or as little as can be, and the least is lost.

        costs: of each product, by name, in any unit: that of a weight is taken to be the same for all in a product.
        """
        ...
