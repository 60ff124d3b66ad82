"""How dense each weight of a model becomes: as a policy says, as it has to be, or by what layers lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dsc.errors import BudgetError, UnsupportedModelError, UsageError
from dsc.prune.densities import CHOICES, MOST, Loss, by_loss, by_magnitude, uniform
from dsc.prune.policy import SparsityPolicy
from dsc.prune.problem import Problem
from dsc.prune.request import PatternRequest
from dsc.prune.sums import Sums, parts_of
from dsc.prune.twins import Twins
from dsc.prune.weights import Weight, find_tables, find_weights
from dsc.quantize.calibration import Feed
from dsc.quantize.layers import Layer, weight_of
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.work import Progress

_PARTS = 1_000_000_000
"""What all weights together cost, in whole numbers."""


class Decisions:
    """weights: of all products, and tables that the policy names. rules: of the policy, by weight.

    Raises UsageError for names in the policy that are no layer's, UnsupportedModelError where there is nothing to do.
    """

    def __init__(
        self,
        network: Network,
        request: PatternRequest,
        policy: SparsityPolicy,
        samples: Sequence[Feed],
        tell: Progress,
    ) -> None:
        self._network, self._request, self._samples, self._tell = network, request, samples, tell
        products, tables = (find(network, request.pattern) for find in (find_weights, find_tables))
        self.rules = policy.decisions(network, [*products, *tables])
        self.weights = [*(table for table in tables if table.name in self.rules), *products]
        for weight in self.weights:
            if weight.refusal and weight.name in self.rules and self.rules[weight.name].sparsity:
                raise UsageError(f"the policy wants zeros in {weight.name}, which cannot be: {weight.refusal}")
        if not any(not weight.refusal and self._decided(weight) != 1.0 for weight in self.weights):
            why = "; ".join(sorted({f"{w.layer.op}: {w.refusal or w.dense or 'the policy'}" for w in self.weights}))
            raise UnsupportedModelError(f"there is nothing to prune in the model: {why or 'no products'}")
        self._losses: dict[str, Loss] | None = None

    @property
    def _open(self) -> list[Weight]:
        """The weights whose densities are to be found."""
        return [weight for weight in self.weights if weight.refusal is None and self._decided(weight) is None]

    def _decided(self, weight: Weight) -> float | None:
        """The density that a policy gives a weight, or that it has for what it is."""
        rule = self.rules.get(weight.name)
        if rule is not None:
            return (self._request.fixed if rule.sparsity else None) or 1 - rule.sparsity
        return 1.0 if weight.dense is not None else None

    def densities(self, sparsity: float) -> dict[str, float]:
        """Of all weights that are pruned. sparsity: of all that are not the policy's, those that stay dense included.

        Raises BudgetError where the weights that stay dense are too many for it.
        """
        sizes = {weight.name: weight.size for weight in self._open}
        total = sum(sizes.values()) + self._dense
        kept = (1 - sparsity) * total - self._dense
        if kept < 0:
            raise BudgetError(
                f"a sparsity of {sparsity:g} leaves {(1 - sparsity) * total:.0f} of {total} weights, and {self._dense} "
                "are of depthwise convolutions, which stay dense unless a policy names them: "
                f"{self.most:.1%} is the most"
            )
        allocation = self._request.how.allocation
        if allocation == "error":
            found = by_loss({name: self.losses[name] for name in sizes}, kept)
        elif allocation == "magnitude":
            matrices = {weight.name: self.matrix(weight) for weight in self._open}
            found = by_magnitude(matrices, kept, self._request.pattern)
        else:
            found = uniform(sizes, kept)
        return found | self._by_policy

    def by_cost(self, left: float, costs: Mapping[str, float]) -> dict[str, float]:
        """Of all weights, where a share is left of what the open ones cost, or of what can be, and the least is lost.

        costs: of each product, by name; of one that is not there, none.
        """
        sums = {w.name: sum(costs.get(layer.name, 0.0) for layer in w.layers) for w in self._open}
        total = sum(sums.values()) or 1.0
        losses = {name: replace(self.losses[name], size=max(1, round(_PARTS * sums[name] / total))) for name in sums}
        kept = sum(loss.size for loss in losses.values()) * (1 - MOST * (1 - left))
        return by_loss(losses, kept) | self._by_policy

    @property
    def _dense(self) -> int:
        """Numbers in weights that stay dense for what they are."""
        return sum(w.size for w in self.weights if w.refusal is None and w.dense and w.name not in self.rules)

    @property
    def most(self) -> float:
        """The largest sparsity that there is."""
        open_ = sum(weight.size for weight in self._open)
        return open_ / (open_ + self._dense)

    def fixed_densities(self, dense: int) -> dict[str, float]:
        """Of a pattern with a density of its own: so many of the most sensitive layers stay dense."""
        fixed = self._request.fixed
        assert fixed is not None  # else `densities` gives them
        named = [weight.name for weight in self._open]
        kept = set(sorted(named, key=lambda name: -self._at(name, fixed))[:dense]) if dense else set()
        return {name: 1.0 if name in kept else fixed for name in named} | self._by_policy

    def _at(self, name: str, density: float) -> float:
        """What a layer loses at a density, more or less."""
        return float(np.interp(1 - density, CHOICES, self.losses[name].curve))

    @property
    def count(self) -> int:
        """How many weights there are whose density is to be found."""
        return len(self._open)

    @property
    def _by_policy(self) -> dict[str, float]:
        found = {w.name: self._decided(w) for w in self.weights if w.refusal is None}
        return {name: density for name, density in found.items() if density is not None}

    @property
    def losses(self) -> Mapping[str, Loss]:
        """What each layer loses at some sparsities when it alone is pruned, found on first use."""
        if self._losses is None:
            self._losses = self._measured()
        return self._losses

    def _measured(self) -> dict[str, Loss]:
        model = self._network.model
        twins = Twins(model, model, self._samples) if self._samples else None
        found = {}
        for index, weight in enumerate(self._open):
            self._tell("measure layers", index, self.count)
            problems = self.without_data(weight)
            if twins is not None:
                sums = self.sums(weight.layer)
                sums.add(twins.pairs(weight.layer.data))
                problems = sums.problems(centered=weight.layer.takes_shift, as_in_float=True)
            found[weight.name] = Loss.of(problems, weight.size, self._request.pattern)
        return found

    def matrix(self, weight: Weight) -> np.ndarray:
        """[outputs, depth]."""
        columns = Matrices.of(self._network, weight.layer).columns(weight_of(self._network, weight.layer))
        return np.asarray(columns.transpose(0, 2, 1).reshape(-1, columns.shape[1]), np.float64)

    def is_pruned(self, weight: Weight, density: float) -> bool:
        """Whether the float model has as many zeros of the pattern: to prune would put others in their place."""
        pattern, parts = self._request.pattern, [problem.target for problem in self.without_data(weight)]
        if pattern.limit is not None:
            return all(map(pattern.holds, parts))
        blocks = [pattern.occupied(part) for part in parts]
        return sum(map(np.count_nonzero, blocks)) <= round(density * sum(part.size for part in blocks))

    def sums(self, layer: Layer) -> Sums:
        """For what a layer reads, in parts of its depth that the pattern does not cross."""
        matrices, pattern = Matrices.of(self._network, layer), self._request.pattern
        step = pattern.depth * (pattern.limit[1] if pattern.limit else 1)
        return Sums(matrices, weight_of(self._network, layer), parts_of(matrices.depth, step))

    def without_data(self, weight: Weight) -> list[Problem]:
        groups = Matrices.of(self._network, weight.layer).groups
        return [Problem.without_data(part) for part in np.split(self.matrix(weight), groups)]
