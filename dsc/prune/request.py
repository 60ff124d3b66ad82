"""What is asked for, checked before the work."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsc.errors import UsageError
from dsc.prune.methods import METHODS, Method
from dsc.sparsity import Pattern


@dataclass(frozen=True)
class Request:
    """sparsity: of all layers together; None where a pattern has its own, or the accuracy decides."""

    pattern: Pattern
    method: str
    sparsity: float | None

    @property
    def how(self) -> Method:
        """What the method does."""
        return METHODS[self.method]

    @property
    def fixed(self) -> float | None:
        """The density that the pattern has whatever is asked for."""
        return None if self.pattern.limit is None else self.pattern.limit[0] / self.pattern.limit[1]


def checked_request(
    pattern: str, sparsity: float | None, method: str | None, has_data: bool, has_judge: bool, drop: float | None
) -> Request:
    """The request. Raises UsageError for numbers that are none, what is missing and what would be ignored."""
    known = Pattern.parse(pattern)
    named = method or ("admm" if has_data else "magnitude")
    if named not in METHODS:
        raise UsageError(f"there is no method {named!r}; there are {', '.join(METHODS)}")
    if METHODS[named].uses_data and not has_data:
        raise UsageError(f"method {named} needs calibration data: give some, or choose magnitude")
    if has_data and not METHODS[named].uses_data:
        raise UsageError(f"method {named} takes no calibration data, and there is some")
    if sparsity is not None and not 0 <= sparsity < 1:
        raise UsageError(f"a sparsity of {sparsity} was asked for; expected 0 or more, and less than 1")
    if known.limit is not None and sparsity is not None:
        raise UsageError(f"pattern {known} has a sparsity of its own: leave out {sparsity}")
    if known.limit is None and sparsity is None and drop is None:
        raise UsageError("how sparse? Give a sparsity, or an evaluation and how much of the accuracy may be lost")
    if drop is not None and not has_judge:
        raise UsageError("an accuracy drop is allowed, and nothing says what the accuracy is: give an evaluation")
    if drop is not None and not 0 <= drop < math.inf:
        raise UsageError(f"an accuracy drop of {drop} was asked for; expected 0 or more")
    return Request(known, named, sparsity)
