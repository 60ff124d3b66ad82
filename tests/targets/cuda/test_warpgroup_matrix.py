# ruff: noqa: E501 - graphs are written on one line
"""Products and convolutions by wgmma, against ONNX Runtime and NumPy; what code, estimates and artifacts make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import tvm

from dsc.errors import ArtifactError
from dsc.lower.workload import Workload
from dsc.pipeline import compile_model
from dsc.runtime.devices.cuda import Cuda as CudaDevice
from dsc.simulator import KernelError, Simulation, simulated_cuda
from dsc.targets import Point, Refusal, Space, Target
from dsc.targets.cuda import Cuda, toolchain
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import AssemblerError, assemble
from dsc.targets.gpu.estimate import Launch, resident_blocks
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.warpgroup_matrix import ContractWarpgroups
from dsc.targets.gpu.warpgroup_matrix.space import WarpgroupSpace
from tests.compiled import TextModel
from tests.targets.cuda.sass import LOCAL, count, instructions
from tests.targets.cuda.simulated import backend, check, library, machine
from tests.targets.cuda.test_matrix import run, wide
from tests.targets.regions import Region

REGIONS = [
    # neighbours in memory from column to column and in depth: several panels, rows beyond the tile
    wide("float16[70,136] x, float16[136,200] w) => (float[70,200] y", "y = MatMul(a, b)"),
    # in depth both; a step that is not whole
    wide("float16[130,72] x, float16[65,72] w) => (float[130,65] y", "y = Gemm<transB=1>(a, b)"),
    # from row to row, in batches; sizes that are known at run time only; an epilogue
    replace(wide("float16[n,s,88] x, float16[n,s,40] w, float16[40] c) => (float16[n,88,40] y", "t = Transpose<perm=[0,2,1]>(a) m = MatMul(t, b) h = Cast<to=10>(m) r = Add(h, c) y = Relu(r)", {"n": 2, "s": 9}), atol=2e-2),
    # by elements, through registers
    wide("float16[3,5] x, float16[5,2] w) => (float[3,2] y", "y = MatMul(a, b)"),
    wide("float16[1,8,7,9] x, float16[16,4,3,3] w) => (float[1,16,5,7] y", "y = Conv<group=2>(a, b)"),
]  # fmt: skip


@pytest.fixture
def hopper() -> Iterator[Simulation]:
    """An H100 whose threads run one after the other, the last one first."""
    with simulated_cuda("sm_90", order="reverse") as simulation:
        yield simulation


def matched(workload: Workload, arch: str = "sm_90") -> WarpgroupSpace:
    space = ContractWarpgroups().match(workload, machine(arch))
    assert isinstance(space, WarpgroupSpace), space
    return space


def in_turn(space: Space) -> Sequence[Point]:
    """One of the tilings with few sums, another for each region."""
    points = [point for point in space.points() if point.rows * point.columns <= 64 * 128]  # type: ignore[attr-defined]
    return [points[len(str(space.source.stored.sizes)) * 7 % len(points)]]  # type: ignore[attr-defined]


def test_numbers(hopper: Simulation) -> None:
    check(ContractWarpgroups(), REGIONS, hopper, in_turn)
    assert all(counted.matrix_macs > 0 for counted in hopper.counters().values())


def test_bfloat16_rounding_and_special_values(hopper: Simulation) -> None:
    """bfloat16 in memory is copied as it is, float32 that may be rounded goes through registers. NaN and infinities stay
    in their rows and columns: what fills a tile is 0, and meets none. Sums are float32."""
    text = "(float[66,72] x, bfloat16[72,40] w) => (float[66,40] y) { b = Cast<to=1>(w) y = MatMul(x, b) }"
    space = matched(replace(Region(text).workload(), multiplied_as="bfloat16"))
    random = np.random.default_rng(1)
    x, w = random.standard_normal((66, 72), np.float32), random.standard_normal((72, 40)).astype(ml_dtypes.bfloat16)
    x[3, 5], x[65, 71], w[7, 11], x[20], w[:, 3] = np.nan, np.inf, -np.inf, 1e30, 1e6
    with np.errstate(invalid="ignore"):
        rounded, factor = x.astype(ml_dtypes.bfloat16).astype(np.float64), w.astype(np.float64)
        expected, terms = rounded @ factor, np.abs(rounded) @ np.abs(factor)
    code = library({"k": space.build(*in_turn(space)).func}, backend(hopper))
    found = run(code["k"], [x, w.view(np.uint16)], np.zeros((66, 40), np.float32))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    finite = np.isfinite(expected)
    assert np.abs(expected[finite]).max() > 1e36
    assert (np.abs(found[finite] - expected[finite]) <= 1e-5 * terms[finite]).all()  # of 72 terms in float32
    assert np.abs(found[:3, :3] - x[:3].astype(np.float64) @ factor[:, :3]).max() > 1e-3, "nothing was rounded"
    assert hopper.counters()["k_kernel"].async_copies > 0


LONG = wide("float16[64,328] x, float16[328,64] w) => (float[64,64] y", "y = MatMul(a, b)")
"""Six steps: more than there are stages."""


@pytest.mark.parametrize(
    ("what", "instead", "noticed"),
    [
        ("wgmma.wait_group.sync.aligned 1;", "wgmma.wait_group.sync.aligned 2;", "which a wgmma that is not waited for reads"),
        ("fence.proxy.async.shared::cta;", "", "without fence.proxy.async"),
    ],
)  # fmt: skip
def test_what_is_missing_is_noticed(what: str, instead: str, noticed: str) -> None:
    """In code with three stages: by a rule, whatever the numbers are."""
    with pytest.raises(KernelError, match=noticed):
        run_changed(what, instead)


def run_changed(what: str, instead: str) -> None:
    space = matched(LONG.workload())
    point = next(p for p in space.points() if (p.rows, p.columns, p.stages) == (64, 64, 3))
    with simulated_cuda("sm_90") as simulation:
        made = CudaBackend(
            machine("sm_90"), assemble=lambda source, _: simulation.compile(source.replace(what, instead))
        )
        code = library({"k": space.build(point).func}, made)
        run(code["k"], LONG.arrays(), np.full((64, 64), np.nan, np.float32))


# --- code


def test_products_go_on_while_the_next_step_is_brought() -> None:
    """By ptxas: products of four instructions a step, nothing spilled, and no wait but those that are written."""
    space = matched(
        wide("float16[1000,1000] x, float16[1000,1000] w) => (float[1000,1000] y", "y = MatMul(a, b)").workload()
    )
    widest = max(space.points(), key=lambda point: (point.columns, point.rows))
    found: list[tuple[str, str]] = []
    made = CudaBackend(machine("sm_90"), assemble=lambda *given: found.append(given) or b"")  # type: ignore[func-returns-value]
    made.generate(made.lower(tvm.IRModule({"k": space.build(widest).func.with_attr("global_symbol", "k")})))
    ((source, arch),) = found
    assert arch == "sm_90a"
    assembled = assemble(source, arch)
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in assembled.said
    (code,) = instructions(assembled.image).values()
    assert code["HGMMA"] % 4 == 0 < code["HGMMA"]
    assert count(code, LOCAL) == 0
    assert code["WARPGROUP"] == code["HGMMA"] // 4 * 2 + 1, "one arrival and one wait for each step, and the last wait"


SERIALIZED = """
extern "C" __global__ void __launch_bounds__(128) k(float* x) {
  float c[4] = {0, 0, 0, 0};
  for (int i = 0; i < 2; ++i) {
    asm volatile("wgmma.fence.sync.aligned;");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %4, 1, 1, 1, 0, 0;"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "l"(1ull << 62));
    c[i] += 1.0f;
  }
  asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;");
  x[threadIdx.x] = c[0] + c[1] + c[2] + c[3];
}"""


def test_products_that_wait_for_one_another_are_refused() -> None:
    with pytest.raises(AssemblerError, match=rf"makes slow code of the kernel for sm_90a: .*{toolchain.SERIALIZED}"):
        assemble(SERIALIZED, "sm_90a")


# --- what is chosen and refused


def test_points_fit_the_machine() -> None:
    for text in ("(float16[512,512] x, float16[512,512] w) => (float16[512,512] y) { y = MatMul(x, w) }",
                 "(float16[512,512] x, float16[512,512] w) => (float16[512,512] y) { y = Gemm<transB=1>(x, w) }"):  # fmt: skip
        space, gpu = matched(Region(text).workload()), machine("sm_90")
        assert len(space.points()) >= 20
        for point in space.points():
            _, by = space.instructions[point.instruction]
            threads, shared = point.warps * gpu.warp, point.shared_bytes(by)
            assert shared <= gpu.most_shared_bytes
            assert resident_blocks(gpu, Launch(1, threads, 1.0, 1.0, registers=by.registers, shared_bytes=shared)) >= 1
            assert not space.transposed[1] or point.columns % 64 == 0


@pytest.mark.parametrize("size", [(8192, 8192, 8192), (1024, 768, 3072), (2048, 4096, 1024)])
def test_they_are_chosen_where_they_are_faster(size: tuple[int, int, int]) -> None:
    m, n, k = size
    workload = wide(f"float16[{m},{k}] x, float16[{k},{n}] w) => (float[{m},{n}] y", "y = MatMul(a, b)").workload()
    spaces = matched(workload), ContractMatrices().match(workload, machine("sm_90"))
    ours, others = (min(map(space.estimate, space.points())) for space in spaces)  # type: ignore[union-attr]
    assert ours <= others
    assert m * n * k / (2048 * 132 * machine("sm_90").frequency) < ours


def test_refusals() -> None:
    halves = Region("(float16[64,64] x, float16[64,64] w) => (float16[64,64] y) { y = MatMul(x, w) }").workload()
    for arch in ("sm_80", "sm_100"):
        refused = ContractWarpgroups().match(halves, machine(arch))
        assert isinstance(refused, Refusal)
        assert refused.reason == "no instruction of warpgroups on matrices of float16"
    single = Region("(float[64,64] x, float[64,64] w) => (float[64,64] y) { y = MatMul(x, w) }").workload()
    for element, workload in (("float32", single), ("tfloat32", replace(single, multiplied_as="tfloat32"))):
        refused = ContractWarpgroups().match(workload, machine("sm_90"))
        assert isinstance(refused, Refusal)
        assert refused.reason == f"no instruction of warpgroups on matrices of {element}"


def test_an_artifact_says_that_no_other_gpu_runs_it() -> None:
    """Only the kernels with wgmma are for sm_90a; one is enough."""
    made: list[str] = []
    family = Cuda(lambda source, arch: made.append(arch) or b"image")  # type: ignore[func-returns-value]
    target = Target(family, machine("sm_90"))
    product = "(float16[2048,512] x, float16[512,2048] w) => (float16[2048,2048] z) { y = MatMul(x, w) z = Softmax(y) }"
    with_product = compile_model(TextModel(product).proto(), target=target).model.manifest
    assert sorted(made) == ["sm_90", "sm_90a"]
    assert with_product.needs[-1].facts == {"arch": "sm_90a"}
    without = compile_model(TextModel("(float[3,5] x) => (float[3,5] y) { y = Relu(x) }").proto(), target=target)
    assert without.model.manifest.needs[-1].facts == {"arch": "sm_90"}


def test_another_gpu_refuses_it(hopper: Simulation) -> None:
    CudaDevice().check({"arch": "sm_90a"}, "cuda:sm_90", "m.dsc")
    with pytest.raises(ArtifactError, match=r"needs a GPU of compute capability 8\.9, and no other, .* here has 9\.0"):
        CudaDevice().check({"arch": "sm_89a"}, "cuda:sm_89", "m.dsc")
