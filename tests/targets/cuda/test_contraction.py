# ruff: noqa: E501 - graphs are written on one line
"""Matrix products and convolutions on GPUs, against ONNX Runtime."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import tvm

from dsc.files import scratch_folder
from dsc.targets import Point, Refusal, Space
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import compile_with, find_nvcc
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.contraction.source import Contraction, contraction_of
from dsc.targets.gpu.contraction.tiling import TILINGS
from dsc.targets.gpu.estimate import Launch, resident_blocks
from tests.gpu.device import Device
from tests.targets.cuda.simulated import check, every, machine
from tests.targets.regions import Region
from tests.targets.test_gemm import COMPUTED, CONSTANT, SIZES, dense

CONVOLUTIONS = [
    Region("(float[1,3,17,19] x, float[8,3,3,3] w, float[8] b) => (float[1,8,9,10] y) { c = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w, b) y = Relu(c) }", atol=1e-4),
    Region("(float[2,16,7,7] x, float[33,16,1,1] w) => (float[2,33,7,7] y) { y = Conv(x, w) }", atol=1e-4),
    Region("(float[2,5,9,11] x, float[24,5,3,3] w, float[24] b, float[2,24,9,11] r) => (float[2,24,9,11] y) { c = Conv<pads=[1,1,1,1]>(x, w, b) s = Add(c, r) y = Clip(s) }", atol=1e-4),
    Region("(float[1,8,12,12] x, float[16,8,5,5] w) => (float[1,16,12,12] y) { c = Conv<dilations=[2,2],pads=[4,4,4,4]>(x, w) g = Sigmoid(c) y = Mul(c, g) }", atol=1e-4),
    Region("(float[n,8,h,w] x, float[16,8,3,3] f) => (float[n,16,h,w] y) { y = Conv<pads=[1,1,1,1]>(x, f) }", {"n": 2, "h": 5, "w": 6}, atol=1e-4),
    Region("(float[2,6,30] x, float[7,6,3] w) => (float[2,7,28] y) { y = Conv(x, w) }", atol=1e-4),
    Region("(float16[9,32] x, float16[32,20] w) => (float16[9,20] y) { y = MatMul(x, w) }", atol=2e-2),
]  # fmt: skip
PRODUCTS = [
    region for region in (*SIZES, *CONSTANT, *COMPUTED) if not isinstance(contraction_of(region.workload()), Refusal)
]


def in_turn(space: Space) -> Sequence[Point]:
    """One of the tilings, another for each region."""
    source = space.source  # type: ignore[attr-defined]
    return [TILINGS[(len(source.params) + len(str(source.stored.sizes)) + len(str(source.k))) % len(TILINGS)]]


def test_products(simulation: Device) -> None:
    check(Contract(), [replace(region, atol=1e-4) for region in PRODUCTS[::3]], simulation, in_turn)


def test_convolutions(simulation: Device) -> None:
    check(Contract(), CONVOLUTIONS, simulation, in_turn)


def test_every_tiling(in_any_order: Device) -> None:
    check(Contract(), [replace(dense(71, 133, 37), atol=1e-4)], in_any_order, every)


def test_how_a_convolution_is_a_product() -> None:
    source = contraction_of(CONVOLUTIONS[2].workload())
    assert isinstance(source, Contraction)
    assert (source.batch, source.rows, source.columns, source.depth) == ((), (24,), (2, 9, 11), (5, 3, 3))
    assert [str(read.tensor.op.name) for read in source.beside] == ["in2", "in3"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(float[1,4,9,9] x, float[4,1,3,3] w) => (float[1,4,7,7] y) { y = Conv<group=4>(x, w) }", "same for all rows"),
        ("(float[1,16] x, float[16,8] w) => (float[1,8] y) { y = MatMul(x, w) }", "same for all rows"),
        ("(float[5,16] x) => (float[5] y) { a = Constant<value_ints=[1]>() y = ReduceMax<keepdims=0>(x, a) }", "no sum of products"),
        ("(float[5,16] x) => (float[5,16] y) { y = Softmax(x) }", "2 reductions"),
        ("(float[8,16] x, float[16,8] w) => (float[8,8] y) { p = MatMul(x, w) t = Transpose(p) y = Add(p, t) }", "moves elements"),
        ("(float[8,16] x, float[16,8] w) => (float[16,8] y) { p = MatMul(x, w) y = Concat<axis=0>(p, p) }", "moves elements"),
        ("(float[n,16] x, float[16,m] w) => (float[m,n] y) { p = MatMul(x, w) y = Transpose(p) }", "elements of unknown sizes"),
        ("(double[5,16] x, double[16,8] w) => (double[5,8] y) { y = MatMul(x, w) }", "no instruction for float64"),
        ("(float[0,16] x, float[16,8] w) => (float[0,8] y) { y = MatMul(x, w) }", "without elements"),
    ],
)  # fmt: skip
def test_refusals(text: str, reason: str) -> None:
    found = Contract().match(Region(text).workload(), machine())
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_tilings_are_shared_out_evenly_and_fit() -> None:
    for tag in ("sm_75", "sm_80", "sm_90"):
        for tiling in TILINGS:
            assert tiling.threads % 32 == 0
            assert tiling.rows * tiling.depth % tiling.threads == tiling.columns * tiling.depth % tiling.threads == 0
            assert tiling.shared_bytes <= machine(tag).shared_bytes
            launch = Launch(1, tiling.threads, 1.0, 1.0, registers=tiling.registers, shared_bytes=tiling.shared_bytes)
            assert resident_blocks(machine(tag), launch) >= 1


def test_large_products_take_large_tiles_and_small_ones_small() -> None:
    def best(m: int, n: int, k: int) -> tuple[int, int]:
        space = Contract().match(dense(m, n, k).workload(), machine())
        point = min(space.points(), key=space.estimate)
        return point.rows, point.columns

    assert math.prod(best(8192, 8192, 1024)) >= 64 * 128
    assert max(best(48, 96, 512)) <= 64


def test_sums_stay_in_registers() -> None:
    """By ptxas: no spills, no stack, registers as the estimate has them or fewer."""
    tilings = [TILINGS[0], TILINGS[3], TILINGS[-1]]
    space = Contract().match(dense(1000, 1000, 1000).workload(), machine())
    functions = {
        f"k{i}": space.build(point).func.with_attr("global_symbol", f"k{i}") for i, point in enumerate(tilings)
    }
    found: list[str] = []
    made = CudaBackend(machine(), assemble=lambda source, _: found.append(source) or b"")  # type: ignore[func-returns-value]
    made.generate(made.lower(tvm.IRModule(functions)))
    said = ptxas(found[0], "sm_80")
    assert len(re.findall(r"0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", said)) == len(tilings)
    names = re.findall(r"Compiling entry function 'k(\d+)_kernel'", said)
    used = dict(zip(names, re.findall(r"Used (\d+) registers", said), strict=True))
    for i, point in enumerate(tilings):
        assert int(used[str(i)]) <= point.registers + 8


def ptxas(source: str, arch: str) -> str:
    """What ptxas says of the resources of the kernels."""
    with scratch_folder() as folder:
        (folder / "k.cu").write_text(source)
        options = ["-cubin", f"-arch={arch}", "-Xptxas", "-v", str(folder / "k.cu"), "-o", str(folder / "k.cubin")]
        return compile_with(find_nvcc(), options, arch)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("(float[128,96] x, float[96,256] w) => (float[128,256] y) { y = MatMul(x, w) }", 0.9),
        ("(float[128,96] x, float[256,96] w) => (float[128,256] y) { y = Gemm<transB=1>(x, w) }", 0.9),
        ("(float[1,64,16,28] x, float[128,64,1,1] w) => (float[1,128,16,28] y) { y = Conv(x, w) }", 0.9),
        ("(float[1,8,28,28] x, float[64,8,3,3] w) => (float[1,64,28,28] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", 0.8),
    ],
)
def test_neighbours_load_neighbours_and_banks_do_not_conflict(text: str, share: float, simulation: Device) -> None:
    check(Contract(), [Region(text, atol=1e-4)], simulation, lambda _: [TILINGS[3]])
    (counted,) = simulation.counters().values()
    assert counted.coalescing >= share
    assert counted.bank_conflicts == 0
