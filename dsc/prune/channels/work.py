"""A model and what is asked of its channels: how many each group keeps, and the model without the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial

import numpy as np
import onnx

from dsc.errors import BudgetError, UnsupportedModelError
from dsc.prune.channels.allocation import Choice, allocated, options
from dsc.prune.channels.dims import Use
from dsc.prune.channels.groups import Gone, Group, find_groups
from dsc.prune.channels.losses import by_samples, by_weights
from dsc.prune.channels.ranking import Ranking
from dsc.prune.channels.refit import refit, with_biases
from dsc.prune.channels.remove import removed, zeroed
from dsc.prune.channels.rules import coupled
from dsc.prune.channels.sizes import Sizes
from dsc.prune.plan import SHARES, Plan
from dsc.prune.policy import SparsityPolicy
from dsc.prune.pruned import LayerReport, Made
from dsc.prune.request import ChannelRequest
from dsc.prune.speed.draft import Draft
from dsc.prune.twins import Twins
from dsc.prune.weights import find_weights
from dsc.quantize.calibration import Feed
from dsc.quantize.network import Network
from dsc.quantize.work import Progress
from dsc.sparsity import Pattern

_NOTHING = 1e-3
"""What a product that nothing is known of costs, of the cheapest one."""


class ChannelWork:
    """samples: read once and kept, for methods that need them.

    Raises UsageError for names in the policy that are no layer's and samples that the model does not take,
    UnsupportedModelError where there is nothing to remove.
    """

    def __init__(
        self,
        request: ChannelRequest,
        model: onnx.ModelProto,
        policy: SparsityPolicy,
        samples: Iterable[Feed],
        tell: Progress,
    ) -> None:
        self.float_model = with_biases(model) if request.updates else model
        self._request, self._tell = request, tell
        self._coupling = coupled(Network(self.float_model))
        self._groups, self._sizes = find_groups(self._coupling), Sizes(self._coupling)
        if not self._groups:
            raise UnsupportedModelError(f"there are no channels to remove in the model: {self._sizes.why()}")
        network = self._coupling.network
        self._rules = policy.decisions(network, find_weights(network, Pattern()))
        self.samples: Sequence[Feed] = [{name: np.array(array) for name, array in feed.items()} for feed in samples]
        self._rows: Mapping[str, tuple[int, int]] = {}

    def asked(self) -> Plan:
        """What is asked for, where that says how sparse it is."""
        assert self._request.sparsity is not None  # else a budget decides
        return self._plan(self._request.sparsity)

    def plans(self) -> list[Plan]:
        """What may be tried where it does not: the smallest model first."""
        least = 1 - self._left([choice.options[-1] for choice in self._choices]) / self._sizes.total
        return [self._plan(share) for share in SHARES if share <= least]

    def _plan(self, share: float) -> Plan:
        return Plan(f"a sparsity of {share:.0%}", partial(self._shared, share))

    def _shared(self, share: float) -> Made:
        """The model without a share of its weights. Raises BudgetError where not so many may go."""
        wanted = (1 - share) * self._sizes.total
        least = self._left([choice.options[-1] for choice in self._choices])
        if least > wanted:
            raise BudgetError(
                f"a sparsity of {share:g} leaves {wanted:.0f} of {self._sizes.total} weights, and {least:.0f} are left "
                f"when as many channels go as may: {1 - least / self._sizes.total:.1%} is the most"
            )
        return self.made(allocated(self._choices, self._left, wanted))

    @cached_property
    def _rankings(self) -> Sequence[Ranking]:
        """In what order the units of each group go, and what that costs."""
        if self._request.method == "magnitude":
            return by_weights(self._groups, self._coupling)
        twins = Twins(self.float_model, self.float_model, self.samples)
        found, self._rows = by_samples(
            self._groups, self._coupling, twins, makes_up=self._request.updates, tell=self._tell
        )
        return found

    @cached_property
    def _choices(self) -> list[Choice]:
        return self._chosen_by(None)

    def _chosen_by(self, worth: Mapping[Use, float] | None) -> list[Choice]:
        """What each group may lose, and what that brings."""
        whole = self._sizes.left({}, worth)
        return [
            Choice(ranking.errors, self._sizes.gain(group, worth) / whole, self._options(group))
            for group, ranking in zip(self._groups, self._rankings, strict=True)
        ]

    def draft(self, left: float, costs: Mapping[str, float]) -> Draft:
        """The model of which a share of what its products cost is left, or as little as can be, and the least is lost.

        costs: of each product, by name; those that are not there cost next to nothing.
        """
        least = min(costs.values()) * _NOTHING
        worth = {
            use: sum(costs.get(name, least) for name in readers) / self._sizes.size(use)
            for use, readers in self._sizes.readers.items()
        }

        def found(counts: Sequence[int]) -> float:
            return self._sizes.left(dict(zip(self._groups, counts, strict=True)), worth)

        counts = allocated(self._chosen_by(worth), found, left * self._sizes.left({}, worth))
        gone = self._gone(counts)
        return Draft(removed(self._coupling.network, gone), partial(self.made, counts))

    def _options(self, group: Group) -> list[int]:
        """Counts of units that may go: all that leave a multiple, or the one next to what a policy has."""
        width = max(group.counts[c.weight, c.axis] for c in group.contractions)
        found = options(len(group.units), width, self._request.multiple)
        rules = [rule for rule in map(self._rules.get, self._sizes.makers(group)) if rule is not None]
        if rules:
            return [min(found, key=lambda count: abs(count - rules[0].sparsity * len(group.units)))]
        return found

    def _left(self, counts: Sequence[int]) -> float:
        """How many weights are left when so many units of each group are gone."""
        return self._sizes.left(dict(zip(self._groups, counts, strict=True)))

    def made(self, counts: Sequence[int]) -> Made:
        """The model without so many units of each group."""
        gone = self._gone(counts)
        model = zeroed(self._coupling.network, gone)
        snrs = refit(model, gone, self.samples, self._tell) if self._request.updates else {}
        return Made(removed(Network(model), gone), tuple(self._report(use, gone, snrs) for use in self._sizes.weights))

    def _gone(self, counts: Sequence[int]) -> Gone:
        places = zip(self._groups, self._rankings, counts, strict=True)
        return Gone(self._coupling, {group.units[at] for group, ranking, n in places for at in ranking.order[:n]})

    def _report(self, use: Use, gone: Gone, snrs: Mapping[str, float]) -> LayerReport:
        node, dims = self._sizes.nodes[use], self._coupling.dims_of(use)
        shape, left = tuple(dim.size for dim in dims), tuple(gone.size(dim) for dim in dims)
        size, notes = self._sizes.size(use), []
        rows, depth = self._rows.get(use.node, (None, 0))
        if left != shape:
            notes.append("now " + "x".join(map(str, left)))
        if rows is not None and rows < depth:
            notes.append(f"{rows} rows of data for a depth of {depth}")
        reason = self._sizes.reason(use) if left == shape else ""
        went, snr = size - gone.weight_size(use), snrs.get(use.node)
        fitted = rows if self._request.updates else None
        return LayerReport(use.node, node.op_type, shape, size, went, snr, reason, tuple(notes), fitted, depth)
