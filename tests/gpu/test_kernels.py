"""Kernels whose tests are otherwise of one vendor's instructions, on the GPU of this host, whichever it is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dsc.targets import Kernel, Refusal
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.matrix_attention import AttendMatrices
from dsc.targets.gpu.sparse import SparseMatmul
from dsc.targets.gpu.structured import StructuredMatmul
from dsc.targets.gpu.vector_product import MultiplyVectors
from dsc.targets.gpu.warpgroup_matrix import ContractWarpgroups
from tests.gpu.device import RealDevice
from tests.targets import sparse_products
from tests.targets.cuda import test_matrix as matrices
from tests.targets.cuda import test_matrix_attention as attention
from tests.targets.cuda import test_sparse_matmul as sparse
from tests.targets.cuda import test_structured_matmul as structured
from tests.targets.cuda import test_vector_product as vectors
from tests.targets.cuda import test_warpgroup_matrix as warpgroups
from tests.targets.cuda.simulated import Choose, check, machine
from tests.targets.half_attention import HALVES, HalfAttention
from tests.targets.regions import Region

pytestmark = pytest.mark.gpu

CASES: dict[str, tuple[Kernel[Gpu], Sequence[Region | HalfAttention], Choose]] = {
    "products of matrices": (ContractMatrices(), matrices.PRODUCTS, matrices.in_turn),
    "products by warpgroups": (ContractWarpgroups(), warpgroups.REGIONS, warpgroups.in_turn),
    "convolutions": (ContractMatrices(), [*matrices.CONVOLUTIONS, *matrices.PACKED], matrices.in_turn),
    "attention": (AttendMatrices(), HALVES, lambda space: [attention.small(space)]),
    "products of few rows": (MultiplyVectors(), [*vectors.PLAIN, *vectors.HALVES, *vectors.OTHERS], vectors.in_turn),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str, device: RealDevice) -> None:
    kernel, regions, choose = CASES[name]
    refused = kernel.match(regions[0].workload(), machine(device.arch))
    if isinstance(refused, Refusal):
        pytest.skip(f"{device.arch}: {kernel.name} is not for it: {refused.reason}")
    check(kernel, regions, device, choose)


@pytest.mark.parametrize("element", sparse_products.ELEMENTS)
@pytest.mark.parametrize(("kernel", "cases"), [(SparseMatmul(), sparse.CASES), (StructuredMatmul(), structured.CASES)])
def test_products_by_sparse_weights(
    kernel: Kernel[Gpu], cases: Sequence[sparse_products.Case], element: str, device: RealDevice
) -> None:
    made = [replace(case, element=element) for case in cases]
    refused = kernel.match(made[0].workload(), machine(device.arch))
    if isinstance(refused, Refusal):
        pytest.skip(f"{device.arch}: {kernel.name} is not for it: {refused.reason}")
    sparse_products.check(kernel, made, device, random.SystemRandom().randrange(1 << 30))
