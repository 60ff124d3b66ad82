"""How few layers have to stay in float for an accuracy that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Search:
    """evaluate: the accuracy with so many layers in float, the most sensitive ones. least: the accuracy asked for.

    Accuracies are taken to rise with the number of layers in float, which they do but for noise; so a few evaluations
    find the number. `tried` has all of them.
    """

    evaluate: Callable[[int], float]
    least: float
    tried: dict[int, float] = field(default_factory=dict)

    def fewest(self, most: int) -> int | None:
        """The fewest layers, up to `most`; None where not even `most` will do.

        Powers of two first, since it is mostly few, then halves of what is left between two of them.
        """
        low, high = -1, 0  # `low` will not do
        while not self._will_do(high):
            if high >= most:
                return None
            low, high = high, min(max(1, 2 * high), most)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._will_do(middle) else (middle, high)
        return high

    @property
    def best(self) -> tuple[int, float]:
        """The number with the best accuracy of those tried, the least of equal ones, and that accuracy."""
        return max(self.tried.items(), key=lambda entry: (entry[1], -entry[0]))

    def _will_do(self, count: int) -> bool:
        if count not in self.tried:
            self.tried[count] = self.evaluate(count)
        return self.tried[count] >= self.least
