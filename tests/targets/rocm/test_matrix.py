"""Products and convolutions on matrix cores: by what LLVM makes of them."""

from __future__ import annotations

import re

import pytest

from dsc.simulator import simulated_rocm
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.matrix.space import MatrixSpace
from tests.targets.cuda.simulated import check
from tests.targets.cuda.test_matrix import CONVOLUTIONS, PACKED, PRODUCTS, SLICES, in_turn, wide
from tests.targets.regions import Region
from tests.targets.rocm.compiled import machine, of_implementations

PRODUCT = wide("float16[257,300] x, float16[190,300] w) => (float[257,190] y", "y = Gemm<transB=1>(a, b)")
CONVOLUTION = wide(
    "float16[1,32,20,20] x, float16[64,32,3,3] w) => (float[1,64,20,20] y", "y = Conv<pads=[1,1,1,1]>(a, b)", block=16
)


def space(region: Region, arch: str) -> MatrixSpace:
    found = ContractMatrices().match(region.workload(), machine(arch))
    assert isinstance(found, MatrixSpace), found
    return found


@pytest.mark.parametrize(
    ("arch", "mnemonic"),
    [("gfx90a", "v_mfma_f32_"), ("gfx942", "v_mfma_f32_"), ("gfx1100", "v_wmma_f32_"), ("gfx1200", "v_wmma_f32_")],
)
def test_all_is_in_registers_and_multiplied_by_matrix_instructions(arch: str, mnemonic: str) -> None:
    """The largest tile with the most sums, and what is estimated to be the fastest; no multiply-add of elements."""
    product, convolution = space(PRODUCT, arch), space(CONVOLUTION, arch)
    points = [product.points()[0], min(convolution.points(), key=convolution.estimate)]
    found = of_implementations(arch, [product.build(points[0]), convolution.build(points[1])])
    for used, point in zip(found.used, points, strict=True):
        assert (used.vector_spills, used.private_bytes) == (0, 0), used
        assert used.vector_registers <= machine(arch).registers_per_thread
        _, fragments = product.instructions[point.instruction]
        assert used.shared_bytes == point.shared_bytes(fragments)
    assert mnemonic in found.assembly
    assert not re.search(r"\tv_(?:pk_|dual_)?(?:fma|fmac|mac)_f(?:32|16)", found.assembly)
    assert re.search(r"\tds_(?:read|load)_b128|\tds_read2_b64", found.assembly), "operands come by vectors"


def test_bfloat16_and_tf32_have_their_own_instructions() -> None:
    halves = "(bfloat16[64,64] x, bfloat16[64,64] w) => (bfloat16[64,64] y) { y = Gemm<transB=1>(x, w) }"
    for arch, intrinsic in (("gfx90a", "bf16.1k"), ("gfx942", "bf16.1k"), ("gfx1100", "bf16.v8f32.v16i16")):
        names = space(Region(halves), arch).instructions
        assert names
        assert all(name.endswith(intrinsic) for name in names)


@pytest.mark.parametrize("arch", ["gfx942", "gfx1100", "gfx1200"])
def test_numbers(arch: str) -> None:
    """Both kinds of wavefronts, the last threads first: where lanes have their registers, and that they wait."""
    with simulated_rocm(arch, order="reverse") as simulation:
        check(ContractMatrices(), [PRODUCTS[1], PRODUCTS[5], CONVOLUTIONS[0], PACKED[0]], simulation, in_turn)
        check(ContractMatrices(), [SLICES], simulation, lambda space: [p for p in space.points() if p.slices == 2][:1])
