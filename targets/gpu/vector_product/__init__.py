"""Products of a few rows by a matrix on GPUs: the matrix is read once, in vectors, and the depth is shared out."""

from __future__ import annotations

from dsc.targets.gpu.vector_product.kernel import MultiplyVectors

__all__ = ["MultiplyVectors"]
