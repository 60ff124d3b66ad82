"""The threads of this process."""

from __future__ import annotations

import os
import time

PATIENCE = 10.0
"""Seconds: what others started, or ended, may still be seen for a moment."""


def threads_of_this_process() -> set[str]:
    """Their identifiers. Compare sets, not counts: a thread of something earlier may end meanwhile, when its owner is
    collected."""
    return set(os.listdir("/proc/self/task"))


def new_threads(before: set[str], count: int) -> set[str]:
    """Those that have come since `before`: so many, once helpers that were done are gone from the system's list."""
    until = time.monotonic() + PATIENCE
    while len(found := threads_of_this_process() - before) != count and time.monotonic() < until:
        time.sleep(0.01)
    assert len(found) == count, f"{len(found)} threads have come, not {count}"
    return found


def ended(threads: set[str]) -> bool:
    """Whether all of these are gone, or are within moments."""
    until = time.monotonic() + PATIENCE
    while threads & threads_of_this_process() and time.monotonic() < until:
        time.sleep(0.01)
    return not threads & threads_of_this_process()
