"""Scaled-dot-product attention on CPUs: the scores of a block of queries stay in cache."""

from __future__ import annotations

from dsc.targets.cpu.attention.kernel import Attention

__all__ = ["Attention"]
