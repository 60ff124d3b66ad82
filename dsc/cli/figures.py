"""Figures as options have them, and as tables show them."""

from __future__ import annotations

import math

from dsc.errors import UsageError


def parse_share(option: str, text: str) -> float:
    """The number of "1%" or "0.01". Raises UsageError for anything else, in the name of the option."""
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if rest or not 0 <= share < math.inf:
        raise UsageError(f"{option} {text}: expected a share, as 1% or 0.01")
    return share


def parse_times(option: str, text: str) -> float:
    """The number of "2x" or "2". Raises UsageError for anything else, in the name of the option."""
    try:
        times = float(text.strip().removesuffix("x"))
    except ValueError:
        times = math.nan
    if not 0 < times < math.inf:
        raise UsageError(f"{option} {text}: expected how many times, as 2x or 1.5")
    return times


def decibels(ratio: float | None) -> str:
    """A ratio of signal to noise; nothing where it is not known."""
    if ratio is None:
        return ""
    return f"{ratio:.1f}" if math.isfinite(ratio) else "exact" if ratio > 0 else "lost"
