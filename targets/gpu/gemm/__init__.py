"""Matrix products on GPUs: tiles in shared memory, tiles of those in registers, epilogues applied in registers."""

from __future__ import annotations

from dsc.targets.gpu.gemm.kernel import Gemm

__all__ = ["Gemm"]
