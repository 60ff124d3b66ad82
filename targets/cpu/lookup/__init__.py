"""Bytes by a table of 256, in vectors: what quantized models have for GELU, SiLU and the like."""

from __future__ import annotations

from dsc.targets.cpu.lookup.kernel import Lookup

__all__ = ["Lookup"]
