"""The innermost loops of kernels: one multiply-add for each vector of the tile, and nothing that spills."""

from __future__ import annotations

import pytest

from dsc.codegen.objects import compile_kernel
from dsc.targets import Kernel, Point, target
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.conv.kernels import Direct, Winograd
from dsc.targets.cpu.gemm import Gemm
from tests.targets.assembly import count, inner_loops, spills
from tests.targets.conv_regions import Case
from tests.targets.regions import Region
from tests.targets.weighted import Weighted

ATTENTION = """(float[2,64,32] q, float[2,32,96] k, float[2,96,32] v) => (float[2,64,32] y)
{ s = MatMul(q, k) p = Softmax(s) y = MatMul(p, v) }"""
PRODUCT = "(float[120,96] x, float[96,480] w) => (float[120,480] y) { p = MatMul(x, w) y = Relu(p) }"
KERNELS: dict[str, tuple[Kernel, object]] = {
    "gemm": (Gemm(), Weighted(PRODUCT, weights=("w",))),
    "attention": (Attention(), Region(ATTENTION)),
    "direct": (Direct(), Case((1, 64, 14, 14), 64, (1, 1), block=16, out_block=16, activation="Relu")),
    "winograd": (Winograd(), Case((1, 64, 28, 28), 64, pads=(1, 1, 1, 1), block=16, out_block=16)),
}


def vectors(point: Point) -> set[int]:
    """Of the register tiles of a point: attention has one for each of its products."""
    if hasattr(point, "keys"):
        return {point.keys * point.vectors, point.queries * point.widths}
    return {(point.rows if not hasattr(point, "width") else point.width) * point.vectors}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("tag", ["x86:haswell", "x86:znver4"])
def test_one_multiply_add_for_each_vector_and_no_spills(name: str, tag: str) -> None:
    kernel, region = KERNELS[name]
    backend = target(tag).backend()
    space = kernel.match(region.workload(), target(tag).machine)
    point = min(space.points(), key=space.estimate)
    func = space.build(point).func.with_attr("global_symbol", "kernel")
    loops = inner_loops(backend.assembly(compile_kernel("kernel", func, backend)), "vfmadd231ps")
    tiles = {each: [loop for loop in loops if count(loop, "vfmadd231ps") % each == 0] for each in vectors(point)}
    assert all(tiles.values()), f"{point}: {[count(loop, 'vfmadd231ps') for loop in loops]} multiply-adds"
    assert not [spill for found in tiles.values() for loop in found for spill in spills(loop)]
