"""Sums of products by instructions of four warps that read both factors in shared memory (wgmma)."""

from __future__ import annotations

from dsc.targets.gpu.warpgroup_matrix.kernel import ContractWarpgroups

__all__ = ["ContractWarpgroups"]
