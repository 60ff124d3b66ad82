"""Sets of indices that may go, in groups of those that are alike: channels of a stage, heads of an attention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dsc.prune.channels.coupling import Contraction, Coupling
from dsc.prune.channels.dims import Dim, Tensor, Use


@dataclass(frozen=True, eq=False)
class Group:
    """units: sets that go as a whole, each with as many indices of the same dims. counts: how many, by dim.

    contractions: the constants that are multiplied with them, and summed over.
    """

    units: tuple[int, ...]
    counts: Mapping[tuple[Tensor, int], int]
    contractions: tuple[Contraction, ...]

    def columns(self, coupling: Coupling, tensor: Tensor, axis: int) -> np.ndarray:
        """[units, indices of each] of a dim."""
        own = coupling.sets[coupling.dims_of(tensor)[axis].atoms]
        order = np.argsort(own, kind="stable")
        first = np.searchsorted(own[order], self.units)
        return np.asarray(order[first[:, None] + np.arange(self.counts[tensor, axis])])


def find_groups(coupling: Coupling) -> list[Group]:
    """Those of more than one unit, in the order in which they are first multiplied."""
    free, sets = coupling.free, coupling.sets
    counts: dict[int, dict[tuple[Tensor, int], int]] = defaultdict(dict)
    for tensor in coupling.tensors:
        for axis, dim in enumerate(coupling.dims_of(tensor)):
            units, times = np.unique(sets[dim.atoms[free[dim.atoms]]], return_counts=True)
            for unit, count in zip(units, times, strict=True):
                counts[int(unit)][tensor, axis] = int(count)
    alike: dict[tuple[tuple[tuple[Tensor, int], int], ...], list[int]] = defaultdict(list)
    for one, found in counts.items():
        alike[tuple(found.items())].append(one)
    made = []
    for key, members in alike.items():
        of = dict(key)
        contractions = tuple(c for c in coupling.contractions if (c.weight, c.axis) in of)
        if len(members) > 1 and contractions:
            made.append(Group(tuple(sorted(members)), of, contractions))
    order = {contraction: index for index, contraction in enumerate(coupling.contractions)}
    return sorted(made, key=lambda group: order[group.contractions[0]])


@dataclass(frozen=True, eq=False)
class Gone:
    """The units that go, of a model."""

    coupling: Coupling
    units: Collection[int]

    @cached_property
    def _gone(self) -> np.ndarray:
        """Of each atom."""
        return np.isin(self.coupling.sets, list(self.units))

    def kept(self, dim: Dim) -> np.ndarray:
        """Of each index of a dim, whether it stays."""
        return np.asarray(~self._gone[dim.atoms])

    def size(self, dim: Dim) -> int:
        """How many indices stay."""
        return int(np.count_nonzero(self.kept(dim)))

    def cuts(self, contraction: Contraction) -> bool:
        """Whether something goes that a product sums over."""
        return not self.kept(self.coupling.dims_of(contraction.weight)[contraction.axis]).all()

    def weight_size(self, weight: Use) -> int:
        """How many numbers of a constant stay."""
        return int(np.prod([self.size(dim) for dim in self.coupling.dims_of(weight)], dtype=np.int64))
