"""Products whose constant factor is mostly zeros: what no output of a group keeps is neither stored nor multiplied."""

from dsc.targets.gpu.sparse.kernel import SparseMatmul

__all__ = ["SparseMatmul"]
