"""Scaled-dot-product attention in one pass, both products by instructions on matrices."""

from __future__ import annotations

from dsc.targets.gpu.matrix_attention.kernel import AttendMatrices

__all__ = ["AttendMatrices"]
