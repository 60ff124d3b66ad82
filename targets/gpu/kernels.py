"""The kernels of GPU families."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.targets.gpu.attention import Attention
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.generic.kernel import Generic
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.matrix_attention import AttendMatrices
from dsc.targets.gpu.rows import ReduceRows
from dsc.targets.gpu.sparse import SparseMatmul
from dsc.targets.gpu.structured import StructuredMatmul
from dsc.targets.gpu.transpose import Transpose
from dsc.targets.gpu.vector_product import MultiplyVectors
from dsc.targets.gpu.warpgroup_matrix import ContractWarpgroups
from dsc.targets.kernel import Kernel


def gpu_kernels() -> Sequence[Kernel[Gpu]]:
    """In order of preference between equal estimates; the last takes any workload."""
    products = (MultiplyVectors(), ContractWarpgroups(), ContractMatrices(), Contract())
    return (
        AttendMatrices(),
        Attention(),
        StructuredMatmul(),
        SparseMatmul(),
        *products,
        Transpose(),
        ReduceRows(),
        Generic(),
    )
