# ruff: noqa: E501 - graphs are written on one line
"""Products and convolutions on matrix cores: by what LLVM makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from dsc.simulator import simulated_rocm
from dsc.targets import Point, Refusal, Space
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


SINGLES = [
    Region("(float[19,36] x, float[36,12] w) => (float[19,12] y) { y = MatMul(x, w) }", atol=1e-5),
    Region("(float[33,41] x, float16[19,41] w) => (float[33,19] y) { b = Cast<to=1>(w) y = Gemm<transB=1>(x, b) }", atol=1e-5),
    Region("(float[1,3,11,9] x, float[8,3,3,3] w) => (float[1,8,6,5] y) { c = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w) y = Relu(c) }", atol=1e-5),
]  # fmt: skip
"""Factors that may not be rounded: vectors of them, odd rows of them and of halves, an image."""


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


def test_float32_is_multiplied_as_it_is() -> None:
    """To the last bits, by every instruction, and not at all where there is none."""

    def small(found: Space) -> Sequence[Point]:
        """Of each instruction, one of the small tiles."""
        assert isinstance(found, MatrixSpace)
        return list(
            {point.instruction: point for point in found.points() if point.rows * point.columns <= 1024}.values()
        )

    with simulated_rocm("gfx942", order="reverse") as simulation:
        check(ContractMatrices(), SINGLES, simulation, small)
        assert all(counted.matrix_macs for counted in simulation.counters().values())
    assert {name.rpartition("x")[2] for name in space(SINGLES[0], "gfx90a").instructions} == {"2f32", "4f32"}
    refused = ContractMatrices().match(SINGLES[0].workload(), machine("gfx1100"))
    assert isinstance(refused, Refusal)
    assert refused.reason == "no instruction on matrices of float32"
