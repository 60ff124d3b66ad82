"""Sums of products on GPUs: tiles in shared memory, tiles of those in registers, epilogues applied in registers."""

from __future__ import annotations

from dsc.targets.gpu.contraction.kernel import Contract

__all__ = ["Contract"]
