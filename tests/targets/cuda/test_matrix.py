# ruff: noqa: E501 - graphs are written on one line
"""Products and convolutions on tensor cores, against ONNX Runtime and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import tvm

from dsc.lower.workload import Workload
from dsc.simulator import KernelError, Simulation, simulated_cuda
from dsc.simulator.counters import Counters
from dsc.targets import Point, Refusal, Space
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import assemble
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.estimate import Launch, resident_blocks
from dsc.targets.gpu.lowering import devices_part
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.matrix.space import MatrixSpace
from dsc.targets.gpu.matrix.tiling import Tiling
from dsc.targets.gpu.resources import dynamic_shared_bytes
from tests.targets.cuda.sass import instructions
from tests.targets.cuda.simulated import backend, best, check, library, machine
from tests.targets.regions import Region


def wide(types: str, body: str, sizes: dict[str, int] | None = None, block: int = 1) -> Region:
    """A region of x and w, float16 in memory, as a (from x) and b (from w) in float32; y is float32."""
    return Region(f"({types}) {{ a = Cast<to=1>(x) b = Cast<to=1>(w) {body} }}", sizes or {}, block, atol=1e-4)


PRODUCTS = [
    # neighbours in memory: in depth and from column to column, in depth both, from row to row and in depth
    wide("float16[70,40] x, float16[40,24] w) => (float[70,24] y", "y = MatMul(a, b)"),
    wide("float16[33,72] x, float16[65,72] w) => (float[33,65] y", "y = Gemm<transB=1>(a, b)"),
    wide("float16[48,88] x, float16[9,48] w) => (float[88,9] y", "y = Gemm<transA=1,transB=1>(a, b)"),
    # four and two neighbours at once, and none
    wide("float16[19,36] x, float16[36,12] w) => (float[19,12] y", "y = MatMul(a, b)"),
    wide("float16[19,34] x, float16[34,14] w) => (float[19,14] y", "y = MatMul(a, b)"),
    wide("float16[37,41] x, float16[41,19] w) => (float[37,19] y", "y = MatMul(a, b)"),
    wide("float16[2,3] x, float16[3,2] w) => (float[2,2] y", "y = MatMul(a, b)"),
    # batches, sizes that are known at run time only, factors that are computed
    wide("float16[n,s,32] x, float16[n,32,s] w) => (float[n,s,s] y", "y = MatMul(a, b)", {"n": 2, "s": 21}),
    wide("float16[3,1,17,40] x, float16[2,40,8] w) => (float[3,2,17,8] y", "y = MatMul(a, b)"),
    wide("float16[21,40] x, float16[40,24] w) => (float[21,24] y", "r = Relu(x) c = Cast<to=1>(r) y = MatMul(c, b)"),
    # epilogues: what is beside, in halves and not
    replace(wide("float16[33,40] x, float16[40,24] w, float16[24] c, float16[33,24] r) => (float16[33,24] y", "m = MatMul(a, b) h = Cast<to=10>(m) s = Add(h, c) t = Add(s, r) y = Relu(t)"), atol=3e-2),
    wide("float16[33,40] x, float16[40,24] w, float[24] c) => (float[33,24] y", "m = MatMul(a, b) s = Add(m, c) t = Sigmoid(s) y = Mul(s, t)"),
]  # fmt: skip
CONVOLUTIONS = [
    wide("float16[1,3,17,19] x, float16[8,3,3,3] w) => (float[1,8,9,10] y", "y = Conv<strides=[2,2],pads=[1,1,1,1]>(a, b)"),
    wide("float16[2,16,6,4] x, float16[33,16,1,1] w) => (float[2,33,6,4] y", "y = Conv(a, b)"),
    wide("float16[1,8,12,12] x, float16[16,8,5,5] w) => (float[1,16,12,12] y", "y = Conv<dilations=[2,2],pads=[4,4,4,4]>(a, b)"),
    wide("float16[1,8,7,9] x, float16[16,4,3,3] w) => (float[1,16,5,7] y", "y = Conv<group=2>(a, b)"),
    wide("float16[2,6,30] x, float16[7,6,3] w) => (float[2,7,28] y", "y = Conv(a, b)"),
]  # fmt: skip
PACKED = [
    wide("float16[2,32,9,8] x, float16[16,32,3,3] w) => (float[2,16,9,8] y", "c = Conv<pads=[1,1,1,1]>(a, b) y = Relu(c)", block=16),
    wide("float16[1,16,11,7] x, float16[48,16,3,3] w) => (float[1,48,5,3] y", "y = Conv<strides=[2,2]>(a, b)", block=16),
    wide("float16[1,24,5,7] x, float16[40,24,1,1] w) => (float[1,40,5,7] y", "y = Conv(a, b)", block=8),
]  # fmt: skip


def in_turn(space: Space) -> Sequence[Point]:
    """One of the small tilings, another for each region."""
    source = space.source  # type: ignore[attr-defined]
    points = [point for point in space.points() if point.rows * point.columns <= 64 * 64]
    return [points[len(str(source.stored.sizes)) * len(str(source.k)) * 7 % len(points)]]


def square(space: Space) -> Sequence[Point]:
    """A tile of 64 by 64."""
    return [point for point in space.points() if (point.rows, point.columns, point.chunks) == (64, 64, 4)][:1]


def test_products(simulation: Simulation) -> None:
    check(ContractMatrices(), PRODUCTS, simulation, in_turn)


def test_convolutions(simulation: Simulation) -> None:
    check(ContractMatrices(), CONVOLUTIONS, simulation, in_turn)


@pytest.mark.parametrize(
    ("region", "rows", "chunks", "share"),
    [
        (wide("float16[1,3,47,47] x, float16[16,3,3,3] w) => (float[1,16,24,24] y", "y = Conv<strides=[2,2],pads=[1,1,1,1]>(a, b)"), 64, 4, 0.7),
        (wide("float16[48,95] x, float16[40,95] w) => (float[48,40] y", "y = Gemm<transB=1>(a, b)"), 16, 8, 0.7),
        (wide("float16[48,92] x, float16[40,92] w) => (float[48,40] y", "y = Gemm<transB=1>(a, b)"), 16, 8, 0.8),
    ],
)  # fmt: skip
def test_neighbouring_threads_load_neighbours_in_lines_that_are_no_chunks(
    region: Region, rows: int, chunks: int, share: float, simulation: Simulation
) -> None:
    """Taps of an image read with a stride, and odd lines, element by element; lines of pieces of 8 bytes. (0.4 to 0.6
    where each thread loads what it stores.)"""

    def of_rows(space: Space) -> Sequence[Point]:
        return [p for p in space.points() if (p.rows, p.columns, p.chunks) == (rows, 32, chunks)][:1]

    check(ContractMatrices(), [region], simulation, of_rows)
    (counted,) = simulation.counters().values()
    assert counted.coalescing >= share


def test_convolutions_of_packed_images(simulation: Simulation) -> None:
    for region, counted in zip(PACKED, packed(PACKED, simulation, in_turn), strict=True):
        assert counted.async_copies > 0, region.text


def packed(
    regions: Sequence[Region], simulation: Simulation, choose: Callable[[Space], Sequence[Point]]
) -> list[Counters]:
    """Checks regions of packed images; what was counted for each."""
    spaces = [matched(region.workload(), simulation.arch) for region in regions]
    functions = {f"k{i}": space.build(*choose(space)).func for i, space in enumerate(spaces)}
    code = library(functions, backend(simulation))
    for name, region in zip(functions, regions, strict=True):
        arrays = region.arrays()
        (expected,) = (region.pack(array, "outputs") for array in region.reference(arrays))
        found = run(code[name], [region.pack(array, "inputs") for array in arrays], np.full_like(expected, np.nan))
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4, err_msg=region.text)
    return [simulation.counters()[f"{name}_kernel"] for name in functions]


def matched(workload: Workload, arch: str = "sm_80") -> MatrixSpace:
    space = ContractMatrices().match(workload, machine(arch))
    assert isinstance(space, MatrixSpace), space
    return space


def run(function: tvm.runtime.Function, arrays: Sequence[np.ndarray], result: np.ndarray) -> np.ndarray:
    """The result that a kernel makes of arrays."""
    device = tvm.cuda(0)
    output = tvm.runtime.tensor(result, device)
    function(*(tvm.runtime.tensor(array, device) for array in arrays), output)
    return output.numpy()


def shapes(space: Space) -> list[Tiling]:
    """A point of every shape of tile, with its number of slices; steps of another depth, and more or fewer of them on
    their way, from one to the next."""
    found: dict[tuple[int, ...], list[Tiling]] = {}
    for point in space.points():
        key = (point.rows, point.columns, point.warps_down, point.warps_across, point.slices)
        found.setdefault(key, []).append(point)
    return [points[i % len(points)] for i, points in enumerate(found.values())]


def test_tilings() -> None:
    """Tiles of all sizes, with all numbers of steps on their way, some more than there are: no races."""
    with simulated_cuda("sm_80", order="reverse") as simulation:
        check(ContractMatrices(), [PRODUCTS[0]], simulation, lambda space: shapes(space)[::4])


SLICES = wide("float16[50,40] x, float16[40,24] w) => (float[50,24] y", "y = MatMul(a, b)")
"""Of a depth that is one step, of which most slices are beyond the end."""


def test_slices_in_memory_that_the_launch_asks_for(simulation: Simulation) -> None:
    """More shared memory than blocks have by themselves: TVM's runtime asks for it, the simulator would refuse else."""
    points = [point for point in matched(SLICES.workload()).points() if point.slices == 4]
    point = max(points, key=lambda point: point.staged_words)
    check(ContractMatrices(), [SLICES], simulation, lambda _: [point])
    counted = simulation.counters()["k0_kernel"]
    assert counted.shared_bytes == 4 * point.staged_words > machine().shared_bytes
    assert counted.matrix_macs > 0


@pytest.mark.parametrize(
    ("number", "what", "instead"),
    [
        (0, "cp.async.wait_group 1;", "cp.async.wait_group 2;"),  # of two steps on their way, for the older one
        (0, "__syncthreads();", ""),  # for what others have copied
        (2, "__syncthreads();", ""),  # for the sums of other slices
    ],
)
def test_waits_and_barriers_that_are_missing_are_noticed(number: int, what: str, instead: str) -> None:
    """In code with slices and three stages: by a rule, whatever the numbers are."""
    with pytest.raises(KernelError):
        run_changed(lambda source: without(source, number, what, instead))


def without(source: str, number: int, what: str, instead: str) -> str:
    """`source` with something else in one of the places where it has `what`."""
    parts = source.split(what)
    return instead.join(what.join(part) for part in (parts[: number + 1], parts[number + 1 :]))


def run_changed(change: Callable[[str], str]) -> None:
    space = matched(SLICES.workload())
    point = next(p for p in space.points() if (p.rows, p.slices, p.chunks, p.stages) == (48, 2, 4, 3))
    with simulated_cuda("sm_80") as simulation:
        made = CudaBackend(machine(), assemble=lambda source, _: simulation.compile(change(source)))
        code = library({"k": space.build(point).func}, made)
        run(code["k"], SLICES.arrays(), np.full((50, 24), np.nan, np.float32))


def test_registers_where_nothing_copies(simulation: Simulation) -> None:
    """Turing: no asynchronous copies, instructions of half the depth."""
    with_turing = [PRODUCTS[i] for i in (0, 3)]
    found = [matched(region.workload(), "sm_75") for region in with_turing]
    functions = {f"k{i}": space.build(*best(space)).func for i, space in enumerate(found)}
    code = library(functions, replace(backend(simulation), machine=machine("sm_75")))
    for name, region in zip(functions, with_turing, strict=True):
        arrays = region.arrays()
        (expected,) = region.reference(arrays)
        np.testing.assert_allclose(
            run(code[name], arrays, np.full_like(expected, np.nan)), expected, atol=1e-4, rtol=1e-4
        )
        assert simulation.counters()[f"{name}_kernel"].async_copies == 0


# --- other types, and rounding to them


def tf32(array: np.ndarray) -> np.ndarray:
    """Rounded to 10 bits of the fraction, ties away from 0, as ``cvt.rna``."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


ROUNDED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float16": lambda array: array.astype(np.float16),
    "bfloat16": lambda array: array.astype(ml_dtypes.bfloat16),
    "tfloat32": tf32,
}


@pytest.mark.parametrize("element", ROUNDED)
def test_factors_that_may_be_rounded_are(element: str, simulation: Simulation) -> None:
    """float32 in memory, by vectors (tf32) and by elements, both ways round."""
    texts = [
        "(float[37,40] x, float[40,20] w) => (float[37,20] y) { y = MatMul(x, w) }",
        "(float[21,23] x, float[13,23] w) => (float[21,13] y) { y = Gemm<transB=1>(x, w) }",
    ]
    spaces = [matched(replace(Region(text).workload(), multiplied_as=element)) for text in texts]
    assert all(element == space.sides[0].element for space in spaces)
    code = library({f"k{i}": space.build(*in_turn(space)).func for i, space in enumerate(spaces)}, backend(simulation))
    for i, text in enumerate(texts):
        x, w = Region(text).arrays()
        a, b = (ROUNDED[element](array).astype(np.float64) for array in (x, w))
        expected = a @ (b.T if i else b)
        found = run(code[f"k{i}"], [x, w], np.full(expected.shape, np.nan, np.float32))
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-5)
        assert np.abs(found - x.astype(np.float64) @ (w.T if i else w)).max() > 1e-4, "nothing was rounded"


def test_bfloat16_is_copied_as_it_is(simulation: Simulation) -> None:
    text = "(bfloat16[37,40] x, bfloat16[24,40] w, bfloat16[24] c) => (bfloat16[37,24] y) { m = Gemm<transB=1>(x, w) y = Add(m, c) }"
    space = matched(Region(text).workload())
    code = library({"k": space.build(*best(space)).func}, backend(simulation))
    random = np.random.default_rng(1)
    x, w, c = (random.standard_normal(s).astype(ml_dtypes.bfloat16) for s in ((37, 40), (24, 40), (24,)))
    found = run(code["k"], [a.view(np.uint16) for a in (x, w, c)], np.zeros((37, 24), np.uint16)).view(
        ml_dtypes.bfloat16
    )
    product = (x.astype(np.float64) @ w.astype(np.float64).T).astype(ml_dtypes.bfloat16).astype(np.float64)
    np.testing.assert_allclose(found.astype(np.float64), product + c.astype(np.float64), atol=2e-2, rtol=1e-2)
    counted = simulation.counters()["k_kernel"]
    assert counted.async_copies > 0


def test_special_values_and_sums_beyond_the_range(simulation: Simulation) -> None:
    """NaN and infinities stay in their rows and columns; zeros that fill a tile meet none; sums are float32."""
    region = PRODUCTS[0]
    space = matched(region.workload())
    code = library({"k": space.build(*best(space)).func}, backend(simulation))
    x, w = region.arrays()
    x[3, 5], x[69, 39], w[7, 11] = np.nan, np.inf, -np.inf
    x[20], w[:, 3] = 65504, 65504
    with np.errstate(invalid="ignore"):
        expected = x.astype(np.float64) @ w.astype(np.float64)
    found = run(code["k"], [x, w], np.zeros((70, 24), np.float32))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    finite = np.isfinite(expected)
    assert np.abs(expected[finite]).max() > 1e11
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-3, atol=1e-3)


# --- what is counted, chosen and refused


@pytest.mark.parametrize(
    "region",
    [
        wide("float16[128,96] x, float16[96,256] w) => (float[128,256] y", "y = MatMul(a, b)"),
        wide("float16[128,96] x, float16[256,96] w) => (float[128,256] y", "y = Gemm<transB=1>(a, b)"),
        wide("float16[1,32,16,16] x, float16[64,32,3,3] w) => (float[1,64,16,16] y", "y = Conv<pads=[1,1,1,1]>(a, b)", block=16),
    ],
)  # fmt: skip
def test_all_products_are_on_tensor_cores_and_banks_do_not_conflict(region: Region, simulation: Simulation) -> None:
    space = matched(region.workload())
    (counted,) = packed(
        [region],
        simulation,
        square,
    )
    source = space.source
    assert counted.matrix_macs == source.m * source.n * source.k
    assert counted.bank_conflicts == 0
    assert counted.coalescing >= 0.9


def test_sums_stay_in_registers() -> None:
    """By ptxas: no spills, no stack; operands are loaded into the registers that instructions take them from."""
    space = matched(
        wide("float16[1000,1000] x, float16[1000,1000] w) => (float[1000,1000] y", "y = MatMul(a, b)").workload()
    )
    points = list(space.points())
    points = [points[0], points[len(points) // 2], points[-1]]
    functions = {f"k{i}": space.build(point).func.with_attr("global_symbol", f"k{i}") for i, point in enumerate(points)}
    found: list[str] = []
    made = CudaBackend(machine(), assemble=lambda source, _: found.append(source) or b"")  # type: ignore[func-returns-value]
    lowered = made.lower(tvm.IRModule(functions))
    made.generate(lowered)
    asked = dynamic_shared_bytes(devices_part(lowered, made.target))
    assert asked["k0_kernel"] == 4 * points[0].staged_words > machine().shared_bytes
    assert asked["k2_kernel"] == 0
    assembled = assemble(found[0], "sm_80")
    assert assembled.said.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") == len(points)
    code = instructions(assembled.image)["k0_kernel"]
    assert code["MOV"] + code["IMAD"] < 2 * code["HMMA"], "operands are moved to other registers"


def test_points_fit_every_machine() -> None:
    workload = wide("float16[512,512] x, float16[512,512] w) => (float[512,512] y", "y = MatMul(a, b)").workload()
    for tag in ("sm_75", "sm_80", "sm_86", "sm_90"):
        space, gpu = matched(workload, tag), machine(tag)
        assert len(space.points()) >= 10
        for point in space.points():
            _, fragments = space.instructions[point.instruction]
            threads, shared = point.warps * gpu.warp, point.shared_bytes(fragments)
            assert shared <= gpu.most_shared_bytes
            registers = point.registers(fragments, gpu)
            assert resident_blocks(gpu, Launch(1, threads, 1.0, 1.0, registers=registers, shared_bytes=shared)) >= 1


def test_tensor_cores_are_chosen_where_they_are_faster() -> None:
    region = wide("float16[1024,768] x, float16[768,3072] w) => (float[1024,3072] y", "y = MatMul(a, b)")
    with_matrices, without = matched(region.workload()), Contract().match(region.workload(), machine())
    assert not isinstance(without, Refusal)
    best_with, best_without = (min(map(s.estimate, s.points())) for s in (with_matrices, without))
    assert best_without > 5 * best_with
    ideal = 1024 * 768 * 3072 / (1024 * 108 * machine().frequency)
    # Such loops reach half of the rate on an H100, and 64 blocks or so do not fill the machine.
    assert ideal < best_with < 3 * ideal


def test_small_products_take_small_tiles() -> None:
    def tile(m: int, n: int) -> int:
        space = matched(
            wide(f"float16[{m},512] x, float16[512,{n}] w) => (float[{m},{n}] y", "y = MatMul(a, b)").workload()
        )
        point = min(space.points(), key=space.estimate)
        return point.rows * point.columns

    assert tile(128, 768) <= 32 * 64
    assert tile(8192, 8192) >= 128 * 128


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(float[16,16] x, float[16,8] w) => (float[16,8] y) { y = MatMul(x, w) }", "no instruction on matrices of float32"),
        ("(float16[16,16] x, float[16,8] w) => (float[16,8] y) { a = Cast<to=1>(x) y = MatMul(a, w) }", "no instruction on matrices of float32"),
        ("(double[16,16] x, double[16,8] w) => (double[16,8] y) { y = MatMul(x, w) }", "no instruction on matrices of float64"),
        ("(float16[5,16] x) => (float16[5,16] y) { y = Softmax(x) }", "2 reductions"),
    ],
)  # fmt: skip
def test_refusals(text: str, reason: str) -> None:
    found = ContractMatrices().match(Region(text).workload(), machine())
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_a_machine_without_the_instruction_is_refused() -> None:
    text = "(bfloat16[16,16] x, bfloat16[16,8] w) => (bfloat16[16,8] y) { y = MatMul(x, w) }"
    found = ContractMatrices().match(Region(text).workload(), machine("sm_75"))
    assert isinstance(found, Refusal)
    assert found.reason == "no instruction on matrices of bfloat16"
