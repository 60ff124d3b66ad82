"""What is asked for, checked before the work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dsc.errors import UsageError
from dsc.prune.methods import METHODS, Method
from dsc.sparsity import Pattern

MULTIPLE = 8
"""What divides the number of channels that stay, unless another is asked for: kernels take blocks of 8 or 16."""
CHANNELS = "channels"
"""Instead of a pattern: channels are removed."""
CHANNEL_METHODS: Mapping[str, bool] = {"magnitude": False, "wanda": True, "obs": True}
"""How channels are ranked, and whether that needs data; `obs` changes what stays."""


@dataclass(frozen=True)
class PatternRequest:
    """Zeros of a pattern. sparsity: of all layers together; None where a pattern has its own, or a budget decides."""

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


@dataclass(frozen=True)
class ChannelRequest:
    """Channels that are removed. sparsity: the share of weights that go; None where a budget decides. multiple: what
    divides the number of channels that stay.
    """

    method: str
    sparsity: float | None
    multiple: int

    @property
    def updates(self) -> bool:
        """Whether weights that stay change."""
        return self.method == "obs"


def checked_request(
    pattern: str,
    sparsity: float | None,
    method: str | None,
    multiple: int | None,
    *,
    has_data: bool,
    has_judge: bool,
    drop: float | None,
    speedup: float | None,
    target: str | None,
) -> PatternRequest | ChannelRequest:
    """The request. Raises UsageError for numbers that are none, what is missing and what would be ignored."""
    if sparsity is not None and not 0 <= sparsity < 1:
        raise UsageError(f"a sparsity of {sparsity} was asked for; expected 0 or more, and less than 1")
    if drop is not None and not has_judge:
        raise UsageError("an accuracy drop is allowed, and nothing says what the accuracy is: give an evaluation")
    if drop is not None and not 0 <= drop < math.inf:
        raise UsageError(f"an accuracy drop of {drop} was asked for; expected 0 or more")
    _check_speed(sparsity, drop, speedup, target)
    if pattern == CHANNELS:
        named = _method(method or ("obs" if has_data else "magnitude"), CHANNEL_METHODS, has_data)
        if speedup is None:
            _check_how_sparse(sparsity, drop)
        if multiple is not None and multiple < 1:
            raise UsageError(f"multiples of {multiple} channels were asked for; expected 1 or more")
        return ChannelRequest(named, sparsity, multiple or MULTIPLE)
    if multiple is not None:
        raise UsageError(f"multiples are of channels, and the pattern is {pattern}")
    known = Pattern.parse(pattern)
    uses_data = {name: how.uses_data for name, how in METHODS.items()}
    named = _method(method or ("admm" if has_data else "magnitude"), uses_data, has_data)
    if known.limit is not None and sparsity is not None:
        raise UsageError(f"pattern {known} has a sparsity of its own: leave out {sparsity}")
    if known.limit is not None and speedup is not None:
        raise UsageError(f"pattern {known} has a sparsity of its own, and no speedup decides it")
    if known.limit is None and speedup is None:
        _check_how_sparse(sparsity, drop)
    return PatternRequest(known, named, sparsity)


def _check_speed(sparsity: float | None, drop: float | None, speedup: float | None, target: str | None) -> None:
    if speedup is None:
        if target is not None:
            raise UsageError("a target is for a speedup, and none is asked for")
        return
    if not 1 < speedup < math.inf:
        raise UsageError(f"a speedup of {speedup} was asked for; expected more than 1, as 2 for twice as fast")
    if sparsity is not None or drop is not None:
        raise UsageError("one budget decides: a speedup, a sparsity, or an accuracy; leave out the others")


def _method(name: str, uses_data: Mapping[str, bool], has_data: bool) -> str:
    if name not in uses_data:
        raise UsageError(f"there is no method {name!r}; there are {', '.join(uses_data)}")
    if uses_data[name] and not has_data:
        raise UsageError(f"method {name} needs calibration data: give some, or choose magnitude")
    if has_data and not uses_data[name]:
        raise UsageError(f"method {name} takes no calibration data, and there is some")
    return name


def _check_how_sparse(sparsity: float | None, drop: float | None) -> None:
    if sparsity is None and drop is None:
        raise UsageError("how sparse? Give a sparsity, a speedup, or an evaluation and how much may be lost")
