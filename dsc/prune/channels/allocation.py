"""How many units each group keeps.

What groups lose is taken to add up. Where the last unit gone brings each group the same for what it costs, no exchange
between two makes the sum less, so one number, the price, gives all counts, as it does for densities of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

_HALVINGS = 40
_CHEAPEST, _DEAREST = 1e-12, 1e9
"""Prices at which next to nothing goes, and all that may."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A group for which a count is to be found. errors: what is lost when so many units are gone. gain: what each unit
    brings that goes, as a share of what is to become less. options: counts of units gone that it may have, rising.
    """

    errors: np.ndarray
    gain: float
    options: Sequence[int]

    def at(self, price: float) -> int:
        """The count of units gone at a price of what is gained."""
        found = np.array(self.options)
        return int(found[np.argmin(self.errors[found] - price * self.gain * found)])


def options(units: int, width: int, multiple: int) -> list[int]:
    """Counts of units gone that leave a multiple of so many indices, of which a unit has `width`; none gone too."""
    step = multiple // gcd(multiple, width)
    return [0, *(units - kept for kept in range((units - 1) // step * step, 0, -step))]


def allocated(choices: Sequence[Choice], left: Callable[[Sequence[int]], float], wanted: float) -> list[int]:
    """The counts of units gone of the least sum of errors that leave what is wanted, or as near to it as steps allow.

    left: what counts leave, which falls with each of them.
    """
    low, high = 0.0, _CHEAPEST  # `low` leaves more than is wanted
    while high < _DEAREST and left([choice.at(high) for choice in choices]) > wanted:
        low, high = high, high * 10
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if left([choice.at(middle) for choice in choices]) > wanted else (low, middle)
    return _filled(choices, [choice.at(low) for choice in choices], left, wanted)


def _filled(
    choices: Sequence[Choice], counts: list[int], left: Callable[[Sequence[int]], float], wanted: float
) -> list[int]:
    """Counts that leave too much, and what else may go, the cheapest first, as long as that is nearer to the wanted."""
    while True:
        off = abs(left(counts) - wanted)
        for _, index, after in sorted(_steps(choices, counts)):
            more = [*counts[:index], after, *counts[index + 1 :]]
            if abs(left(more) - wanted) < off:
                counts = more
                break
        else:
            return counts


def _steps(choices: Sequence[Choice], counts: Sequence[int]) -> Iterator[tuple[float, int, int]]:
    """What the next option of each group costs for what it brings, the group, and the option."""
    for index, (choice, count) in enumerate(zip(choices, counts, strict=True)):
        after = min((option for option in choice.options if option > count), default=None)
        if after is not None:
            cost = float(choice.errors[after] - choice.errors[count])
            yield cost / (choice.gain * (after - count)), index, after
