"""Which of its two neighbouring bytes a weight becomes."""

from __future__ import annotations

from dsc.quantize.rounding.adaptive import round_adaptively

__all__ = ["round_adaptively"]
