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


LONG = wide("float16[257,640] x, float16[192,640] w) => (float[257,192] y", "y = Gemm<transB=1>(a, b)")
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


def two_on_their_way(found: Space) -> Sequence[Point]:
    """A small tile with two steps on their way in registers, of steps as short as there are."""
    assert isinstance(found, MatrixSpace)
    points = [p for p in found.points() if p.loads == 2 and p.rows * p.columns <= 48 * 64]
    return [min(points, key=lambda point: (point.chunks, point.rows, point.slices))]


SEVERAL_STEPS = [
    # three steps; an even number, rows that are no whole tile; a single one; pixels
    wide("float16[33,96] x, float16[33,96] w) => (float[33,33] y", "y = Gemm<transB=1>(a, b)"),
    wide("float16[37,64] x, float16[40,64] w) => (float[37,40] y", "y = Gemm<transB=1>(a, b)"),
    wide("float16[33,32] x, float16[33,32] w) => (float[33,33] y", "y = Gemm<transB=1>(a, b)"),
    wide("float16[2,64,5,8] x, float16[33,64,1,1] w) => (float[2,33,5,8] y", "y = Conv(a, b)", block=16),
]  # fmt: skip


def test_several_steps_on_their_way_in_registers() -> None:
    """Whatever is loaded for steps that there are not is not multiplied."""
    with simulated_rocm("gfx942", order="reverse") as simulation:
        check(ContractMatrices(), SEVERAL_STEPS, simulation, two_on_their_way)


def test_loads_are_waited_for_a_step_later() -> None:
    """In LLVM's code of the loop over steps, two of them long: before something is stored in shared memory the loads of
    one step are waited for, never those of the next. (Rows that are no whole tile are loaded without a branch.)"""
    found = space(LONG, "gfx942")
    point = next(p for p in found.points() if (p.rows, p.chunks, p.loads) == (48, 8, 2))
    code = of_implementations("gfx942", [found.build(point)])
    assert code.used[0].vector_spills == 0
    loop = re.search(r"^(\.LBB0_\d+):.*?s_cbranch_\w+ \1$", code.assembly, re.MULTILINE | re.DOTALL)
    assert loop is not None
    loads = len(re.findall(r"global_load_dwordx4", loop[0]))
    waits = [int(number) for number in re.findall(r"vmcnt\((\d+)\)", loop[0])]
    assert loads > 2
    assert min(waits) == loads // 2


def test_what_is_no_load_alone_is_not_on_its_way_for_long() -> None:
    """A depth that is no whole step, windows of an image, elements that are computed."""
    computed = wide("float16[48,64] x, float16[48,64] w) => (float[48,48] y", "r = Relu(a) y = Gemm<transB=1>(r, b)")
    for region in (PRODUCT, CONVOLUTION, computed):
        assert {point.loads for point in space(region, "gfx942").points()} == {1}


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
