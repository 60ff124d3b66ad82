"""Timing a compiled module against other runtimes, interleaved in one process."""

from __future__ import annotations

from dsc.bench.comparison import Comparison, compare_speed, geometric_mean
from dsc.bench.contenders import PEERS, Contender, module_contender, peer_contender
from dsc.bench.environment import environment
from dsc.bench.timing import Timing, interleave

__all__ = [
    "PEERS",
    "Comparison",
    "Contender",
    "Timing",
    "compare_speed",
    "environment",
    "geometric_mean",
    "interleave",
    "module_contender",
    "peer_contender",
]
