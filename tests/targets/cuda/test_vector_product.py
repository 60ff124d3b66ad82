# ruff: noqa: E501 - graphs are written on one line
"""Products of a few rows on GPUs, against ONNX Runtime and NumPy."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
import tvm

from dsc.codegen.selection import Failures, fastest_by_estimate, select
from dsc.simulator import Simulation, simulated_cuda
from dsc.targets import Point, Refusal, Space, target
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.gpu.vector_product import MultiplyVectors
from dsc.targets.gpu.vector_product.sharing import Sharing
from dsc.targets.gpu.vector_product.space import VectorProductSpace
from tests.targets.cuda.simulated import backend, check, every, library, machine
from tests.targets.cuda.test_contraction import ptxas
from tests.targets.regions import Region


def product(m: int, n: int, k: int, *, transposed: bool = False, element: str = "float", atol: float = 1e-4) -> Region:
    """``[m, k] x [k, n]``; the weight is stored as [n, k] if it is `transposed`."""
    weight, op = ((n, k), "Gemm<transB=1>(x, w)") if transposed else ((k, n), "MatMul(x, w)")
    text = f"({element}[{m},{k}] x, {element}[{weight[0]},{weight[1]}] w) => ({element}[{m},{n}] y) {{ y = {op} }}"
    return Region(text, atol=atol)


SIZES = [(1, 2, 1), (1, 1, 37), (2, 1, 2), (1, 5, 1), (3, 1, 129), (1, 33, 101), (8, 40, 13), (2, 260, 7), (5, 12, 211), (6, 68, 53), (9, 66, 50), (13, 3, 64), (16, 20, 24)]  # fmt: skip
PLAIN = [product(m, n, k) for m, n, k in SIZES]
TRANSPOSED = [product(m, n, k, transposed=True) for m, n, k in [*SIZES[1::2], (4, 26, 72), (7, 31, 96)]]
HALVES = [
    product(m, n, k, transposed=transposed, element="float16", atol=2e-2)
    for m, n, k, transposed in [(1, 136, 96, False), (8, 50, 45, False), (4, 50, 96, True), (2, 9, 77, True)]
]
OTHERS = [
    # epilogues: a bias, a residual, an activation, a narrower result
    Region("(float[2,1,40] x, float[40,36] w, float[36] b, float[2,1,36] r) => (float[2,1,36] y) { p = MatMul(x, w) s = Add(p, b) t = Tanh(s) y = Add(t, r) }", atol=1e-4),
    Region("(float16[3,40] x, float16[40,36] w, float[36] b) => (float[3,36] y, float[3,36] z) { p = MatMul(x, w) c = Cast<to=1>(p) y = Add(c, b) z = Relu(y) }", atol=2e-2),
    # batches; several axes of columns; a convolution of one pixel
    Region("(float[3,1,24] x, float[3,24,20] w) => (float[3,1,20] y) { y = MatMul(x, w) }", atol=1e-4),
    Region("(float[2,24] x, float[5,24,12] w) => (float[5,2,12] y) { y = MatMul(x, w) }", atol=1e-4),
    Region("(float[1,40,1,1] x, float[12,40,1,1] w, float[12] b) => (float[1,12,1,1] y) { c = Conv(x, w, b) y = Sigmoid(c) }", atol=1e-4),
    # a product by a column is one of a row, and so is one by a few columns
    Region("(float[90,56] w, float[56] x) => (float[90] y) { y = MatMul(w, x) }", atol=1e-4),
    Region("(float[90,56] w, float[56,3] x) => (float[90,3] y) { y = MatMul(w, x) }", atol=1e-4),
    Region("(float[56,90] w, float[56,3] x) => (float[90,3] y) { y = Gemm<transA=1>(w, x) }", atol=1e-4),
    # sizes that are known when it runs
    Region("(float[k] x, float[k,n] w) => (float[n] y) { y = MatMul(x, w) }", {"k": 45, "n": 19}, atol=1e-4),
    Region("(float[2,k] x, float[k,24] w) => (float[2,24] y) { y = MatMul(x, w) }", {"k": 3}, atol=1e-4),
    Region("(float[2,40] x, float[n,40] w) => (float[2,n] y) { y = Gemm<transB=1>(x, w) }", {"n": 131}, atol=1e-4),
    # what is computed of what is in memory before it is multiplied, and other types
    Region("(float[2,56] x, float16[56,24] w) => (float[2,24] y) { c = Cast<to=1>(w) e = Neg(x) y = MatMul(e, c) }", atol=1e-4),
    Region("(uint8[2,56] x, int8[56,24] w) => (int32[2,24] y) { y = MatMulInteger(x, w) }"),
    Region("(double[2,56] x, double[56,24] w) => (double[2,24] y) { y = MatMul(x, w) }"),
]  # fmt: skip


def in_turn(space: Space) -> Sequence[Point]:
    """One of the points, which another size changes: the best of all is one of them."""
    points, source = sorted(space.points(), key=space.estimate), space.source  # type: ignore[attr-defined]
    return [points[7 * len(str(source.columns)) * len(str(source.m)) % len(points)]]


@pytest.mark.parametrize("regions", [PLAIN, TRANSPOSED, [*HALVES, *OTHERS]], ids=["plain", "transposed", "others"])
def test_products(regions: list[Region], simulation: Simulation) -> None:
    check(MultiplyVectors(), regions, simulation, in_turn)


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_every_way_to_share(order: str) -> None:
    """A ninth of all in each order, other ones in each."""

    def several(space: Space) -> Sequence[Point]:
        points = every(space)
        return points[order == "reverse" :: 9]

    with simulated_cuda("sm_80", order=order) as simulation:
        check(MultiplyVectors(), [product(3, 36, 1100), product(3, 18, 1100, transposed=True)], simulation, several)


def test_sums_do_not_vary_from_run_to_run() -> None:
    """Neither with the order of blocks, nor with that of threads: slices are added by a launch of their own."""
    region = product(2, 20, 999)
    space = space_of(region)
    point = next(point for point in space.points() if point.slices == 4)
    found = []
    for order in ("forward", "reverse", 3):
        with simulated_cuda("sm_80", order=order) as simulation:  # type: ignore[arg-type]
            code, arrays = library({"k": space.build(point).func}, backend(simulation)), region.arrays()
            result = tvm.runtime.tensor(np.zeros((2, 20), np.float32), tvm.cuda(0))
            code["k"](*(tvm.runtime.tensor(array, tvm.cuda(0)) for array in arrays), result)
            found.append(result.numpy())
            assert len(simulation.counters()) == 2
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_what_is_no_number_spreads_to_its_own_sums_only(transposed: bool, simulation: Simulation) -> None:
    """Beyond the depth and the edges nothing is multiplied: 0 times infinity would be NaN."""
    region = product(3, 37, 45, transposed=transposed)
    x, w = region.arrays()
    x[0, 44], x[1, 3] = np.inf, np.nan
    last, depth = ((36, 44), (5, 44)) if transposed else ((44, 36), (44, 5))
    w[last], w[depth] = -np.inf, np.inf
    space = space_of(region)
    points = every(space)
    functions = {f"k{i}": space.build(point).func for i, point in enumerate((points[0], points[-1]))}
    code = library(functions, backend(simulation))
    with np.errstate(invalid="ignore"):
        expected = x.astype(np.float64) @ (w.T if transposed else w).astype(np.float64)
    for name in functions:
        result = tvm.runtime.tensor(np.zeros((3, 37), np.float32), tvm.cuda(0))
        code[name](tvm.runtime.tensor(x, tvm.cuda(0)), tvm.runtime.tensor(w, tvm.cuda(0)), result)
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
def test_bfloat16_is_loaded_in_vectors_of_its_bits(transposed: bool, simulation: Simulation) -> None:
    """ONNX Runtime has no such product: by NumPy, in float64. The result has 8 bits."""
    m, n, k = 3, 144, 96
    space = space_of(product(m, n, k, transposed=transposed, element="bfloat16"))
    assert space.source.together == 8
    random = np.random.default_rng(0)
    x, w = (random.standard_normal(size).astype(np.float32) for size in ((m, k), (n, k) if transposed else (k, n)))
    x, w = ((array.view(np.uint32) >> 16).astype(np.uint16) for array in (x, w))
    left, right = ((array.astype(np.uint32) << 16).view(np.float32).astype(np.float64) for array in (x, w))
    code = library({"k": space.build(min(space.points(), key=space.estimate)).func}, backend(simulation))
    result = tvm.runtime.tensor(np.zeros((m, n), np.uint16), tvm.cuda(0))
    code["k"](tvm.runtime.tensor(x, tvm.cuda(0)), tvm.runtime.tensor(w, tvm.cuda(0)), result)
    found = (result.numpy().astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(found, left @ (right.T if transposed else right), rtol=2**-8, atol=1e-4)
    (counted,) = simulation.counters().values()
    assert counted.coalescing >= 0.95


@pytest.mark.parametrize(
    ("region", "share"),
    [
        (product(1, 1000, 160), 0.99),
        (product(8, 256, 96), 0.99),
        (product(1, 200, 384, transposed=True), 0.99),
        (product(8, 53, 256, transposed=True), 0.95),
        (product(4, 256, 64, element="float16", atol=2e-2), 0.99),
        (product(1, 10, 640), 0.99),
        (product(2, 301, 101), 0.8),
        (product(2, 101, 301, transposed=True), 0.8),
    ],
    ids=lambda value: value.text if isinstance(value, Region) else "",
)
def test_neighbours_load_neighbours_and_banks_do_not_conflict(
    region: Region, share: float, simulation: Simulation
) -> None:
    check(MultiplyVectors(), [region], simulation)
    for counted in simulation.counters().values():
        assert counted.coalescing >= share
        assert counted.bank_conflicts == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(float[64,32] x, float[32,64] w) => (float[64,64] y) { y = MatMul(x, w) }", "64 rows"),
        ("(float[n,32] x, float[32,96] w) => (float[n,96] y) { y = MatMul(x, w) }", "64 rows"),
        ("(float[1,3,17,19] x, float[4,3,3,3] w) => (float[1,4,15,17] y) { y = Conv(x, w) }", "read several times"),
        ("(float[1,4,9,9] x, float[4,1,3,3] w) => (float[1,4,7,7] y) { y = Conv<group=4>(x, w) }", "read several times"),
        ("(float[2,16] x, float[8,16,6] w) => (float[2,8] y) { i = Constant<value_int=2>() g = Gather<axis=2>(w, i) t = Transpose<perm=[1,0]>(g) y = MatMul(x, t) }", "neither columns nor depths"),
        ("(float[1,1] x, float[1,1] w) => (float[1,1] y) { y = MatMul(x, w) }", "neither columns nor depths"),
        ("(float[5,16] x) => (float[5,16] y) { y = Softmax(x) }", "2 reductions"),
    ],
)  # fmt: skip
def test_refusals(text: str, reason: str) -> None:
    found = MultiplyVectors().match(Region(text).workload(), machine())
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_it_is_chosen_where_rows_are_few_and_not_where_they_are_many() -> None:
    for region in (
        product(1, 1000, 1280),
        product(1, 3072, 768),
        product(8, 768, 3072),
        product(1, 1000, 768, transposed=True),
    ):
        assert chosen(region) == "gpu.vector_product", region.text
    for region in (product(64, 1000, 1280), product(512, 512, 512)):
        assert chosen(region) != "gpu.vector_product", region.text


def test_the_depth_is_in_slices_where_columns_are_few_and_it_is_long() -> None:
    def slices(region: Region) -> int:
        space = space_of(region)
        return min(space.points(), key=space.estimate).slices

    assert slices(product(1, 1000, 1280)) == slices(product(1, 5000, 768, transposed=True)) == 1
    assert slices(product(1, 16, 65536)) > 1
    assert slices(product(1, 1, 1_000_000)) > 1


def test_every_machine_has_a_way_to_share_every_product() -> None:
    for region in (*PLAIN[::2], *TRANSPOSED[::2], *HALVES, *OTHERS[::3]):
        workload = region.workload()
        for tag in ("cuda:sm_75", "cuda:sm_90", "rocm:gfx942", "rocm:gfx1100"):
            found = target(tag).machine
            space = MultiplyVectors().match(workload, found)  # type: ignore[arg-type]
            assert not isinstance(space, Refusal), f"{tag} {region.text}: {space.reason}"
            for point in space.points():
                assert point.threads <= found.max_threads  # type: ignore[attr-defined]
                assert point.down * point.across == point.threads


def test_sums_stay_in_registers() -> None:
    """By ptxas: no spills, no stack."""
    functions = {}
    for region in (
        product(8, 3072, 768),
        product(8, 1003, 768, transposed=True),
        product(8, 512, 96, element="float16"),
    ):
        space = space_of(region)
        for point in (
            max(space.points(), key=lambda p: (p.registers, p.threads)),
            min(space.points(), key=space.estimate),
        ):
            name = f"k{len(functions)}"
            functions[name] = space.build(point).func.with_attr("global_symbol", name)
    found: list[str] = []
    made = CudaBackend(machine(), assemble=lambda source, _: found.append(source) or b"")  # type: ignore[func-returns-value]
    made.generate(made.lower(tvm.IRModule(functions)))
    said = ptxas(found[0], "sm_80")
    launches = len(re.findall(r"Compiling entry function", said))
    assert launches >= len(functions)
    assert len(re.findall(r"0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", said)) == launches


def space_of(region: Region) -> VectorProductSpace:
    """The ways to share a product on the default machine."""
    found = MultiplyVectors().match(region.workload(), machine())
    assert isinstance(found, VectorProductSpace)
    assert all(isinstance(point, Sharing) for point in found.points())
    return found


def chosen(region: Region) -> str:
    """The kernel that a region is given to."""
    return select(region.workload(), target("cuda:sm_80"), fastest_by_estimate, Failures()).candidate.kernel.name
