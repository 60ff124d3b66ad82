"""The sparsest model that keeps its accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dsc.errors import BudgetError
from dsc.prune.judge import Judge, Scores
from dsc.prune.plan import Plan
from dsc.prune.pruned import Accuracy, Made


@dataclass
class Search:
    """drop: how much may be lost, on the samples that decide.

    Losses are taken to rise with the sparsity, which they do but for noise; so a few evaluations find the sparsest.
    """

    judge: Judge
    drop: float
    _losses: dict[str, float] = field(default_factory=dict)
    _found: tuple[Made, Scores] | None = None

    def sparsest(self, plans: Sequence[Plan]) -> Plan:
        """The first of some plans, the sparsest first, that keeps to the drop. Raises BudgetError where none does."""
        low, high = -1, len(plans)  # `low` will not do, `high` will, or is beyond the last
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.will_do(plans[middle]) else (middle, high)
        if high == len(plans):
            title, least = min(self._losses.items(), key=lambda entry: entry[1])
            raise BudgetError(
                f"no more than {self.drop:g} may be lost of {self.judge.base.mean:.4f}: with {title} it is "
                f"{least:.4f}, and that is the best of {len(self._losses)} evaluations; allow a larger drop, more "
                "data, or dense layers by a policy"
            )
        return plans[high]

    def will_do(self, plan: Plan) -> bool:
        """Whether a plan's model keeps to the drop; the last that does is `best`."""
        made = plan.make()
        scores = self.judge.scores(made.model)
        self._losses[plan.title] = self.judge.drop(scores)
        if self._losses[plan.title] > self.drop:
            return False
        self._found = (made, scores)
        return True

    def loss(self, plan: Plan) -> float:
        """What a plan that was tried loses."""
        return self._losses[plan.title]

    @property
    def best(self) -> tuple[Made, Accuracy]:
        """The last model that kept to the drop, which is the sparsest of them, and its accuracy."""
        assert self._found is not None  # a plan did
        made, scores = self._found
        return made, self.judge.accuracy(scores, decided=True)
