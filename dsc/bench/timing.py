"""Fair timing on a machine that is never quite quiet."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_BLOCK_SECONDS = 0.05
_BLOCK_CALLS = 3
_PAUSE = 0.1
"""Seconds before each block, in which the last one's worker threads stop spinning: ONNX Runtime's take 0.05."""


@dataclass(frozen=True)
class Timing:
    """Latency of one contender: seconds over all `calls` that were counted."""

    median: float
    minimum: float
    quartiles: tuple[float, float]
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """The summary of at least two measured calls."""
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(middle, min(seconds), (low, high), len(seconds))

    def to_json(self) -> dict[str, object]:
        """Plain data, in milliseconds."""
        low, high = self.quartiles
        return {
            "median_ms": self.median * 1e3,
            "min_ms": self.minimum * 1e3,
            "quartiles_ms": [low * 1e3, high * 1e3],
            "calls": self.calls,
        }


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int = 10,
    on_round: Callable[[int], None] | None = None,
) -> dict[str, Timing]:
    """Time calls of all contenders in turns, so that what disturbs the machine disturbs all of them.

    After a warm-up, each round runs a block of calls (at least 3, at least 50 ms) of each contender, in an
    order that changes from round to round. The first call of a block is not counted: it finds the caches
    full of another's data and threads asleep. `on_round` is told the number of rounds done. rounds: at
    least 1.
    """
    calls = {name: _warm_up(run) for name, run in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                time.sleep(_PAUSE)
                seconds[name] += _block(contenders[name], calls[name])
            if on_round is not None:
                on_round(number + 1)
    finally:
        if was_enabled:
            gc.enable()
    return {name: Timing.of(measured) for name, measured in seconds.items()}


def _warm_up(run: Callable[[], object]) -> int:
    """Run a few times; the number of calls that make a block."""
    run()
    fastest = min(_block(run, _BLOCK_CALLS))
    return max(_BLOCK_CALLS, min(1000, round(_BLOCK_SECONDS / max(fastest, 1e-9))))


def _block(run: Callable[[], object], calls: int) -> list[float]:
    """Seconds of each of `calls` calls, after one that is not counted."""
    run()
    measured = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        measured.append(time.perf_counter() - start)
    return measured
