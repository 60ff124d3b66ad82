"""Products whose constant factor is mostly zeros: blocks of outputs that share an input are multiplied, no others."""

from dsc.targets.cpu.sparse.conv_kernel import SparseConv
from dsc.targets.cpu.sparse.matmul_kernel import SparseMatmul

__all__ = ["SparseConv", "SparseMatmul"]
