"""Scaled-dot-product attention on GPUs, in one pass: scores are never in memory."""

from __future__ import annotations

from dsc.targets.gpu.attention.kernel import Attention

__all__ = ["Attention"]
