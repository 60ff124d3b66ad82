"""Pieces of 128 bytes, of which a pixel of 16 channels is a half or a quarter: what the kernels that are chosen use."""

from __future__ import annotations

import pytest
from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import same
from dsc.simulator import simulated_rocm
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.contraction.space import ContractionSpace
from dsc.targets.gpu.generic.cost import traffic
from dsc.targets.gpu.generic.kernel import Generic, PlannedSpace
from dsc.targets.gpu.generic.places import shared_sizes
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.vector_product import MultiplyVectors
from dsc.targets.gpu.vector_product.space import VectorProductSpace
from tests.coalescing.checked import assert_used, checked
from tests.targets.cuda.simulated import check, every, machine
from tests.targets.regions import Region
from tests.targets.weighted import Weighted

REGIONS = [
    # few channels to many; a small map, of a long depth; a classifier's head whose rows are no whole pieces
    "(float[1,16,28,28] x) => (float[1,96,28,28] y) <float[96,16,1,1] w> { c = Conv(x, w) y = Relu(c) }",
    "(float[1,576,7,7] x) => (float[1,160,7,7] y) <float[160,576,1,1] w> { y = Conv(x, w) }",
    "(float[1,640] x) => (float[1,500] y) <float[640,500] w, float[500] b> { y = Gemm(x, w, b) }",
]
PIXELS = Region(
    "(float[1,16,7,9] x, float[32,16,1,1] w) => (float[1,32,7,9] y) { y = Conv(x, w) }", block=16, atol=1e-4
)
ROWS = Region("(float[64,32] x, float[32,256] w) => (float[64,256] y) { y = MatMul(x, w) }")


def contraction(region: Region, tag: str) -> ContractionSpace:
    found = Contract().match(region.workload(), machine(tag))
    assert isinstance(found, ContractionSpace)
    return found


def head(columns: int, depth: int) -> Weighted:
    text = f"(float[1,{depth}] x, float[{depth},{columns}] w) => (float[1,{columns}] y) {{ y = MatMul(x, w) }}"
    return Weighted(text, weights=("w",))


def vector_product(region: Region, tag: str) -> VectorProductSpace:
    found = MultiplyVectors().match(region.workload(), machine(tag))
    assert isinstance(found, VectorProductSpace)
    return found


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 2e-3)])
def test_chosen_products_use_what_they_fetch(precision: str, bound: float) -> None:
    """0.8 of all together, 0.7 of each at least. bound: of the difference, of the largest result."""
    counted = checked(REGIONS, "rocm:gfx942", precision, bound)
    products = [each for each in counted if each.choice.kind in ("conv", "matmul")]
    assert len(products) == len(REGIONS)
    assert {each.choice.kernel for each in products} <= {"gpu.contraction", "gpu.matrix", "gpu.vector_product"}
    assert_used(products)


def test_threads_have_neighbouring_pixels_where_a_pixel_is_no_whole_piece() -> None:
    """Not where it is one, nor where rows of a matrix are wider than a tile."""
    assert all(point.strided for point in contraction(PIXELS, "gfx942").points())
    assert not any(point.strided for point in contraction(PIXELS, "sm_80").points())
    assert not any(point.strided for point in contraction(ROWS, "gfx942").points())


def test_every_row_of_a_tile_has_a_place_of_its_own() -> None:
    """Where a row is loaded to is where the threads that have it read it."""
    for tiling in contraction(PIXELS, "gfx942").points():
        rows: list[Expr] = []
        for down in range(tiling.threads_down):
            for i in range(tiling.thread_rows):
                at = tirx.const(down, "int32"), tirx.const(i, "int32")
                assert same(tiling.row_place(tiling.row(*at)), tiling.place(*at))
                rows.append(tiling.row(*at))
        assert sorted(map(int, rows)) == list(range(tiling.rows))


def test_pixels_by_every_tiling() -> None:
    """The last threads first; 63 pixels are no whole tile."""
    with simulated_rocm("gfx942", order="reverse") as simulation:
        check(Contract(), [PIXELS], simulation, every)


def test_results_of_matrices_are_stored_pixel_by_pixel() -> None:
    """Of 16 halves a pixel, in maps of which most begin within a piece: 0.93, and 0.85 row by row."""
    region = Region(
        "(float16[1,16,7,7] x, float16[256,16,1,1] w) => (float16[1,256,7,7] y) { y = Conv(x, w) }", block=16, atol=2e-2
    )
    with simulated_rocm("gfx942", order="reverse") as simulation:
        check(ContractMatrices(), [region], simulation)
        (counted,) = simulation.counters().values()
    assert counted.coalescing >= 0.9


def test_threads_that_share_a_window_take_a_row_of_it_at_a_step() -> None:
    """With steps of two pixels, of 32 bytes each: taps of a row fill the holes between pixels. (0.7 tap by tap.)"""
    pool = "(float16[1,32,29,29] x) => (float16[1,32,14,14] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2]>(x) }"
    depthwise = "(float16[1,16,15,15] x, float16[16,1,3,3] w) => (float16[1,16,8,8] y)"
    depthwise += "{ y = Conv<group=16,strides=[2,2],pads=[1,1,1,1]>(x, w) }"
    with simulated_rocm("gfx942", order="reverse") as simulation:
        check(Generic(), [Region(pool, block=16)], simulation)
        (counted,) = simulation.counters().values()
        check(Generic(), [Region(text, block=16, atol=1e-2) for text in (pool, depthwise)], simulation, every)
    assert counted.coalescing >= 0.85


def test_rows_of_a_window_are_shared_where_that_takes_no_more_steps() -> None:
    size = tirx.Var("n", "int64")
    assert shared_sizes([3, 3], 4) == [3, 4]
    assert shared_sizes([7, 7], 8) == [7, 8]
    for sizes, group in (([5, 5], 8), ([2, 2], 4), ([960], 32), ([9, 16], 32), ([3, 3], 1), ([], 4), ([3, size], 4)):
        assert shared_sizes(sizes, group) == sizes


def test_pieces_that_warps_touch_pass_through_the_cache() -> None:
    """128 bytes of them in a cycle, on machines whose pieces are small and on those where they are large."""
    region = Region("(float[64,64] x) => (float[64,64] y) { y = Transpose<perm=[1,0]>(x) }")
    for tag in ("sm_80", "gfx942"):
        space = Generic().match(region.workload(), machine(tag))
        assert isinstance(space, PlannedSpace)
        for point in space.points():
            (shares,), (rows,) = point.shares, space.plan.launches
            found = traffic(space.machine, rows, space.body.inputs, shares)
            assert found.cycles >= (found.loaded + found.stored) * space.machine.sector_bytes / 128


def test_deep_steps_take_what_shared_memory_there_is() -> None:
    assert max(point.depth for point in contraction(PIXELS, "gfx942").points()) == 192
    assert max(point.depth for point in contraction(PIXELS, "sm_80").points()) == 128


def test_a_constant_matrix_of_broken_rows_is_packed_column_by_column() -> None:
    """Not where rows are whole pieces, where columns are none either, or where it is no constant."""
    assert vector_product(head(500, 640), "gfx942").source.by_depth
    assert not vector_product(head(512, 640), "gfx942").source.by_depth
    assert not vector_product(head(500, 641), "gfx942").source.by_depth
    assert not vector_product(Region(head(500, 640).text), "gfx942").source.by_depth
