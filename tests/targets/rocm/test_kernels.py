"""Every kind of region becomes a code object that fits the machine, with all that it computes in registers."""

from __future__ import annotations

import re
from functools import cache

import pytest

from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.vector_product import MultiplyVectors
from dsc.targets.rocm.machines import BY_TAG
from tests.targets.regions import Region
from tests.targets.rocm.compiled import Compiled, compiled, machine, of_implementations

ARCHS = ("gfx942", "gfx1100")
REGIONS = {
    "elementwise": "(float[7,33] x, float[33] b) => (float[7,33] y) { s = Add(x, b)  e = Erf(s)  y = Mul(e, x) }",
    "functions": "(float[5,9] x) => (float[5,9] y) { s = Sin(x)  t = Atan(s)  y = Sinh(t) }",
    "half": "(float16[5,9] x) => (float16[5,9] y) { f = Floor(x)  t = Tanh(x)  y = Add(f, t) }",
    "double": "(double[5,9] x) => (double[5,9] y) { y = Exp(x) }",
    "integers": "(int64[3,1000] x) => (int64[1,1] y) { y = ReduceSum(x) }",
    "reduction": "(float[3,4099] x) => (float[1,1] y) { y = ReduceMax(x) }",
    "softmax": "(float[3,4096] x) => (float[3,4096] y) { y = Softmax(x) }",
    "short softmax": "(float[200,7] x) => (float[200,7] y) { y = Softmax(x) }",
    "norm": "(float[5,77] x, float[77] s, float[77] b) => (float[5,77] y) { y = LayerNormalization(x, s, b) }",
    "transpose": "(float[5,17,9] x) => (float[9,5,17] y) { y = Transpose<perm=[2,0,1]>(x) }",
    "pool": "(float[2,5,15,15] x) => (float[2,5,7,7] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2]>(x) }",
    "depthwise": "(float[1,6,9,9] x, float[6,1,3,3] w) => (float[1,6,7,7] y) { y = Conv<group=6>(x, w) }",
    "product": "(float[999,511] a, float[511,777] b) => (float[999,777] y) { p = MatMul(a, b)  y = Relu(p) }",
    "few rows": "(float[4,1024] a, float[1024,3072] b) => (float[4,3072] y) { p = MatMul(a, b)  y = Relu(p) }",
    "few rows of halves": "(float16[1,512] a, float16[4099,512] b) => (float16[1,4099] y) { y = Gemm<transB=1>(a, b) }",
    "convolution": "(float[1,33,39,39] x, float[65,33,3,3] w) => (float[1,65,37,37] y) { y = Conv(x, w) }",
    "attention": "(float[2,70,24] q, float[2,24,70] k, float[2,70,24] v) => (float[2,70,24] y)"
    "{ p = MatMul(q, k)  w = Softmax(p)  y = MatMul(w, v) }",
    "gather": "(float[11,6] x, int64[4] i) => (float[4,6] y) { y = Gather(x, i) }",
    "scatter": "(float[9] x, int64[3] i, float[3] u) => (float[9] y) { a = Abs(u)  y = ScatterElements(x, i, a) }",
    "lone scatter": "(float[9] x, int64[3] i, float[3] u) => (float[9] y) { y = ScatterElements(x, i, u) }",
}


@cache
def regions(arch: str) -> Compiled:
    return compiled(arch, list(REGIONS.values()))


@pytest.mark.parametrize("arch", ARCHS)
def test_every_kind_of_region_fits(arch: str) -> None:
    found = regions(arch)
    assert len(found.used) >= len(REGIONS)
    on_matrices = any(row.m > 1 for row in machine(arch).multiply_adds("float32", "float32", "float32"))
    common = {"gpu.generic", "gpu.rows", "gpu.attention", "gpu.transpose", "gpu.vector_product"}
    products = {"gpu.matrix", "gpu.contraction"} if on_matrices else {"gpu.contraction"}
    assert common < set(found.kernels) <= common | products
    for used in found.used:
        assert (used.vector_spills, used.scalar_spills) == (0, 0), used
        assert used.shared_bytes <= machine(arch).shared_bytes, used
        assert 0 < used.vector_registers <= machine(arch).registers_per_thread, used
    assert any(used.shared_bytes for used in found.used)


@pytest.mark.parametrize("arch", ARCHS)
def test_nothing_waits_for_less_than_its_writes_to_shared_memory(arch: str) -> None:
    """A barrier comes after the wait for what was written to local memory (`lgkmcnt`)."""
    lines = [line.strip() for line in regions(arch).assembly.splitlines()]
    barriers = [i for i, line in enumerate(lines) if line == "s_barrier"]
    assert barriers
    for place in barriers:
        before = next(
            line for line in reversed(lines[:place])
            if line.startswith(("s_waitcnt lgkmcnt(0)", "s_waitcnt vmcnt(0) lgkmcnt(0)", "ds_write", "ds_store"))
        )  # fmt: skip
        assert before.startswith("s_waitcnt"), lines[place - 8 : place + 1]


@pytest.mark.parametrize("arch", ARCHS)
def test_addresses_stay_in_their_memory(arch: str) -> None:
    """TVM's second name for a piece of local memory would be an address of memory of all blocks."""
    assert "addrspacecast" not in regions(arch).llvm


def test_products_are_packed_where_the_machine_has_that() -> None:
    """The row of the machine that the estimate is made with is what the code is made of."""
    region = Region("(float[128,256] a, float[256,128] b) => (float[128,128] y) { y = MatMul(a, b) }")
    for arch, name in (("gfx90a", "v_pk_fma_f32"), ("gfx942", "v_pk_fma_f32"), ("gfx1030", "v_fma(c|mk|ak)?_f32")):
        space = Contract().match(region.workload(), machine(arch))
        point = min(space.points(), key=space.estimate)
        found = of_implementations(arch, [space.build(point)])
        multiplied = re.findall(r"\bv_(?:pk_|dual_)?f?ma[a-z]*_f32", found.assembly)
        row = BY_TAG[arch].multiply_adds("float32", "float32", "float32")[0]
        packed = [each for each in multiplied if re.match(name, each)]
        assert len(packed) >= 0.9 * len(multiplied) > 0, multiplied
        per_thread = row.n // machine(arch).warp
        assert len(packed) * per_thread == pytest.approx(8 * point.thread_rows * point.thread_columns, rel=0.1)


@pytest.mark.parametrize("arch", ["gfx942", "gfx1100"])
def test_sums_of_a_few_rows_are_in_registers(arch: str) -> None:
    """By the points that take the most of them."""
    points = []
    for text in (
        "(float[8,300] a, float[300,1028] b) => (float[8,1028] y) { y = MatMul(a, b) }",
        "(float16[8,304] a, float16[1003,304] b) => (float16[8,1003] y) { y = Gemm<transB=1>(a, b) }",
    ):
        space = MultiplyVectors().match(Region(text).workload(), machine(arch))
        point = max(space.points(), key=lambda each: (each.slices == 1, each.registers))
        points.append(space.build(point))
    for used in of_implementations(arch, points).used:
        assert (used.private_bytes, used.vector_spills) == (0, 0), used


@pytest.mark.parametrize("arch", ["gfx1100"])
def test_tiles_of_a_ragged_product_are_in_registers(arch: str) -> None:
    """On the machine with the fewest registers for a thread: the largest tile, the deepest, and others."""
    region = Region("(float[257,300] a, float[300,190] b) => (float[257,190] y) { y = MatMul(a, b) }")
    space = Contract().match(region.workload(), machine(arch))
    points = list(space.points())[::2]
    assert max(point.depth for point in points) == max(point.depth for point in space.points())
    found = of_implementations(arch, [space.build(point) for point in points])
    assert [used.private_bytes for used in found.used] == [0] * len(points)
