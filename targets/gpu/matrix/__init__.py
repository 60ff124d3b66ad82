"""Sums of products by instructions on matrices: tensor cores and matrix cores."""

from __future__ import annotations

from dsc.targets.gpu.matrix.kernel import ContractMatrices

__all__ = ["ContractMatrices"]
