"""Attention on tensor cores, against ONNX Runtime and float64."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest
import tvm

from dsc.lower.workload import Workload
from dsc.simulator import KernelError, Simulation, simulated_cuda
from dsc.targets import Point, Refusal, Space
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.gpu.attention import Attention
from dsc.targets.gpu.estimate import Launch, resident_blocks
from dsc.targets.gpu.matrix_attention import AttendMatrices
from dsc.targets.gpu.matrix_attention.space import AttentionSpace
from tests.gpu.device import Device
from tests.targets.chosen_keys import ChosenAttention
from tests.targets.cuda.simulated import backend, best, check, library, machine
from tests.targets.cuda.test_contraction import ptxas
from tests.targets.cuda.test_matrix import ROUNDED, run
from tests.targets.half_attention import HALF_ULP, HALVES, HalfAttention, attention
from tests.targets.test_attention import MASKED, SCALED, heads
from tests.targets.windowed_attention import WindowedAttention

PLAIN = "{ p = MatMul(q, k) w = Softmax<axis=-1>(p) y = MatMul(w, v) }"


def matched(region: HalfAttention, arch: str = "sm_80") -> AttentionSpace:
    found = AttendMatrices().match(region.workload(), machine(arch))
    assert isinstance(found, AttentionSpace), found
    return found


def bert(batch: int, length: int, count: int, size: int) -> HalfAttention:
    """Heads as BERT has them, with a mask for each sequence."""
    return HalfAttention.of(heads((batch, length, count, size), MASKED, f"float[{batch},1,1,{length}] mask"))


def small(space: AttentionSpace, number: int = 0) -> Point:
    """A blocking that is soon compiled, another for each number."""
    points = [p for p in space.points() if p.keys <= 32 and p.warps <= 2 and p.down == 1]
    return points[number * 5 % len(points)]


def built(regions: Sequence[HalfAttention], simulation: Device) -> list[tvm.runtime.Function]:
    """A small blocking of each, all in one library."""
    spaces = [matched(region, simulation.arch) for region in regions]
    functions = {f"k{i}": space.build(small(space, i)).func for i, space in enumerate(spaces)}
    code = library(functions, backend(simulation))
    return [code[name] for name in functions]


def test_layouts_masks_and_lengths(simulation: Device) -> None:
    """Each by another of its blockings; on a real device, which is fast, all cases."""
    turn = count()
    cases = [HALVES[i] for i in (7, 11, 12)] if isinstance(simulation, Simulation) else HALVES
    check(AttendMatrices(), cases, simulation, lambda space: [small(space, next(turn))])  # type: ignore[arg-type]


@dataclass(frozen=True)
class _NearHalves(WindowedAttention):
    """Factors of which are rounded to float16."""

    def workload(self) -> Workload:
        return replace(super().workload(), multiplied_as="float16")


def test_windows(simulation: Device) -> None:
    """As a mask that is computed: no key is skipped."""
    whole = bert(2, 37, 2, 16)
    near = _NearHalves(whole.text, whole.sizes, window=9, atol=HALF_ULP)
    check(AttendMatrices(), [near], simulation, lambda space: [small(space)])  # type: ignore[arg-type]


@dataclass(frozen=True)
class _ChosenHalves(ChosenAttention):
    """Likewise."""

    def workload(self) -> Workload:
        return replace(super().workload(), multiplied_as="float16")


def test_chosen_keys(simulation: Device) -> None:
    """The body is computed: no key is skipped."""
    chosen = _ChosenHalves(bert(2, 69, 2, 16).text, options="keep=0.5", atol=HALF_ULP)
    check(AttendMatrices(), [chosen], simulation, lambda space: [small(space)])  # type: ignore[arg-type]


def test_more_queries_of_a_warp_and_more_steps_ahead() -> None:
    """In another order of threads: no races."""

    def large(space: Space) -> Sequence[Point]:
        by_size = {(p.warps, p.down, p.keys, p.stages): p for p in space.points()}
        return [by_size[2, 2, 16, 3]]

    with simulated_cuda("sm_80", order=1) as simulation:
        check(AttendMatrices(), [bert(1, 77, 1, 24)], simulation, large)


def test_registers_where_nothing_copies() -> None:
    """Turing: no asynchronous copies, instructions of half the depth."""
    with simulated_cuda("sm_75", order="reverse") as simulation:
        check(AttendMatrices(), [HALVES[1]], simulation)
        ((_, counted),) = simulation.counters().items()
    assert counted.async_copies == 0
    assert counted.matrix_macs > 0


# --- types, special values


ERRORS = {"bfloat16": 8e-3, "tfloat32": 1e-3}
"""Of probabilities, each off by half a unit in its last place, times values below 4; they are mostly of both signs."""


def test_factors_that_may_be_rounded_are(simulation: Device) -> None:
    """float32 in memory, keys and values from line to line."""
    text = f"(float[2,33,20] q, float[2,20,45] k, float[2,45,12] v) => (float[2,33,12] y) {PLAIN}"
    regions = {element: HalfAttention(text, multiplied_as=element) for element in ("bfloat16", "tfloat32")}
    q, k, v = HalfAttention(text).arrays()
    for element, kernel in zip(regions, built(list(regions.values()), simulation), strict=True):
        rounded = [ROUNDED[element](array).astype(np.float64) for array in (q, k, v)]
        found = run(kernel, [q, k, v], np.full((2, 33, 12), np.nan, np.float32))
        np.testing.assert_allclose(found, attention(*rounded), atol=ERRORS[element])
        assert np.abs(found - attention(q, k, v)).max() > 1e-4, "nothing was rounded"


GUARD = "b = IsNaN(w) z = Constant<value_float=0.0>() g = Where(b, z, w)"


def test_special_values_and_no_keys(simulation: Device) -> None:
    """The largest score comes last; all are far below 0, which those of keys that are not there would be; in a row
    there is none, or NaN: that row is NaN, or 0 where the model says so. The sum of no products is 0."""
    given = "(float16[1,s,8] q, float16[1,8,t] k, float16[1,t,8] v, float[1,s,t] m) => (float[1,s,8] y)"
    body = "a = Cast<to=1>(q) b_ = Cast<to=1>(k) c = Cast<to=1>(v) p = MatMul(a, b_) s = Add(p, m)"
    tails = ("y = MatMul(w, c)", f"{GUARD} y = MatMul(g, c)")
    texts = [f"{given} {{ {body} w = Softmax<axis=-1>(s) {tail} }}" for tail in tails]
    regions = [HalfAttention(text, {"s": 70, "t": 70}) for text in texts]
    bare, guarded = built(regions, simulation)
    q, k, v, mask = regions[0].arrays()
    mask = mask + np.arange(70, dtype=np.float32) * 3
    mask[0, 4] -= 500
    mask[0, 5] = -np.inf
    mask[0, 6, :69] = -np.inf
    mask[0, 7, 3] = np.nan
    mask[0, 8] = -3e38
    expected, rest = attention(q, k, v, mask), [row for row in range(70) if row not in (5, 7)]
    for kernel, nothing in ((bare, np.nan), (guarded, 0)):
        found = run(kernel, [q, k, v, mask], np.ones((1, 70, 8), np.float32))
        np.testing.assert_array_equal(found[0, [5, 7]], np.full((2, 8), nothing, np.float32))
        np.testing.assert_allclose(found[0, rest], expected[0, rest], atol=2e-3)
    shapes = ((1, 3, 8), (1, 8, 0), (1, 0, 8))
    arrays = [np.ones(shape, np.float16) for shape in shapes]
    assert (run(bare, [*arrays, np.zeros((1, 3, 0), np.float32)], np.full((1, 3, 8), 7, np.float32)) == 0).all()


# --- what is counted, chosen and refused


def test_all_is_on_tensor_cores_side_by_side_and_without_conflicts(simulation: Simulation) -> None:
    region = HalfAttention.of(heads((1, 128, 1, 64), MASKED, "float[1,1,128,128] mask"))
    space = matched(region)
    (point,) = best(space)
    check(AttendMatrices(), [region], simulation)
    counted, shape = simulation.counters()["k0_kernel"], space.shape(point)
    steps = -(-128 // shape.queries) * -(-128 // point.keys)
    assert counted.matrix_macs == steps * shape.queries * point.keys * (64 + 64)
    assert counted.bank_conflicts == 0
    assert counted.coalescing >= 0.95


def source_of(space: AttentionSpace, points: Sequence[Point]) -> str:
    """CUDA C++ of kernels k0, k1, ..."""
    functions = {f"k{i}": space.build(point).func.with_attr("global_symbol", f"k{i}") for i, point in enumerate(points)}
    sources: list[str] = []
    made = CudaBackend(space.machine, assemble=lambda source, _: sources.append(source) or b"")  # type: ignore[func-returns-value]
    made.generate(made.lower(tvm.IRModule(functions)))
    return sources[0]


SYNCHRONIZATION = r"__syncthreads\(\);|tvm_builtin_ptx_cp_async_wait_group_async_wait_group_\d\(\);"


def test_a_barrier_or_a_wait_that_is_missing_is_noticed() -> None:
    """By a rule of CUDA. There are six: a wait and a barrier before queries are read, and before each step; a barrier
    before results take the place of keys that other warps still read, and one before these are read. Three are taken
    out here; that of the others is noticed too."""
    region = bert(1, 96, 1, 16)
    space = matched(region)
    point = next(p for p in space.points() if (p.warps, p.down, p.keys, p.stages) == (2, 1, 32, 2))
    source, arrays, result = source_of(space, [point]), region.arrays(), np.zeros((1, 96, 16), np.float16)
    begin = source.rindex("k0_kernel(")
    places = list(re.finditer(SYNCHRONIZATION, source[begin:]))
    assert [match[0][:3] for match in places] == ["tvm", "__s", "tvm", "__s", "__s", "__s"]
    with simulated_cuda("sm_80", order="reverse") as simulation:
        for match in (places[2], places[3], places[5]):
            broken = source[: begin + match.start()] + source[begin + match.end() :]
            with pytest.raises(KernelError):
                simulation.launch(broken, "k0_kernel", (96 // space.shape(point).queries,), (64,), result, *arrays)


def test_sums_stay_in_registers() -> None:
    """By ptxas: no spills, no stack, for the blocking with the most registers and the one that is chosen."""
    space = matched(bert(8, 128, 12, 64))
    points = [max(space.points(), key=lambda p: space.shape(p).registers(p.warps * 32)), *best(space)]
    said = ptxas(source_of(space, points), "sm_80")
    assert said.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") == len(points)


def test_points_fit_every_machine() -> None:
    for size in (16, 40, 64, 128):
        region = bert(1, 128, 1, size)
        for tag in ("sm_75", "sm_80", "sm_86", "sm_90"):
            space, gpu = matched(region, tag), machine(tag)
            for point in space.points():
                shape, threads = space.shape(point), point.warps * gpu.warp
                assert shape.shared_bytes <= gpu.most_shared_bytes
                registers = shape.registers(threads)
                launch = Launch(1, threads, 1.0, 1.0, registers=registers, shared_bytes=shape.shared_bytes)
                assert resident_blocks(gpu, launch) >= 1


def test_tensor_cores_are_chosen() -> None:
    region = bert(8, 128, 12, 64)
    with_matrices, without = matched(region), Attention().match(region.workload(), machine())
    assert not isinstance(without, Refusal)
    best_with, best_without = (min(map(s.estimate, s.points())) for s in (with_matrices, without))
    assert best_with < 1e-5
    assert best_without > 3 * best_with


PLAIN_HEADS = HalfAttention(heads((1, 16, 1, 16), SCALED).text)
CHANGED = HalfAttention(heads((1, 16, 1, 16), f"{SCALED} u = Add(w, c)").text.replace("MatMul(w,", "MatMul(u,"))


@pytest.mark.parametrize(
    ("region", "arch", "reason"),
    [
        (replace(PLAIN_HEADS, multiplied_as=None), "sm_80", "no instruction on matrices of float32"),
        (replace(bert(1, 16, 1, 16), multiplied_as="bfloat16"), "sm_80", "factors of float16, not of bfloat16"),
        (replace(PLAIN_HEADS, multiplied_as="bfloat16"), "sm_75", "no instruction on matrices of bfloat16"),
        (CHANGED, "sm_80", "the weights are changed"),
        (bert(1, 16, 1, 1024), "sm_80", "too wide"),
        (HalfAttention(heads((1, 8, 2, 4), "w = Relu(p)").text), "sm_80", "0 softmaxes"),
    ],
)
def test_refusals(region: HalfAttention, arch: str, reason: str) -> None:
    found = AttendMatrices().match(region.workload(), machine(arch))
    assert isinstance(found, Refusal)
    assert reason in found.reason
