"""Products by weights of few bits, which become floats in registers, or in a panel that stays in the cache."""

from __future__ import annotations

from dsc.targets.cpu.weight_only.kernel import WeightOnly

__all__ = ["WeightOnly"]
