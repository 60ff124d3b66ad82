"""Matrix products on CPUs: packed panels, register tiles, epilogues applied in registers."""

from __future__ import annotations

from dsc.targets.cpu.gemm.kernel import Gemm

__all__ = ["Gemm"]
