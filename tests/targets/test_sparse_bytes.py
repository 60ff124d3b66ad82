"""Products of bytes by sparse weights, on simulated GPUs of both makers: exactly."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from dsc.check.simulated import simulated
from dsc.pipeline import compile_model
from dsc.simulator import simulated_cuda, simulated_rocm
from dsc.sparsity import Pattern, weight_of
from dsc.targets import Implementation, Kernel, Refusal, target
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.sparse import SparseMatmul
from dsc.targets.gpu.structured import StructuredMatmul
from tests.compiled import TextModel
from tests.targets.cuda.sass import machine_code
from tests.targets.cuda.simulated import assembled, machine
from tests.targets.rocm.compiled import of_implementations
from tests.targets.sparse_bytes import ByteCase, check

SEED = random.SystemRandom().randrange(1 << 30)
CASES = [
    ByteCase((70,), 96, 40),
    ByteCase((128,), 64, 48, "16x1", 0.3, zero=None),
    ByteCase((33,), 31, 50, "unstructured", 0.1),
    ByteCase((2, 3, 5), 40, 7, "2x1", quantized=True),
    ByteCase((2,), 9, 3, "unstructured", 0.5),
    ByteCase(("n",), 72, 20, zero=0),
    ByteCase((40,), 64, 32, "4x1", 0.0, quantized=True),
    ByteCase((40,), 64, 32, "8x1", 1.0),
]


STRUCTURED = [
    ByteCase((70,), 192, 40, "2:4"),
    ByteCase((33,), 31, 50, "2:4", zero=None),
    ByteCase((2, 3, 5), 40, 7, "2:4", quantized=True),
    ByteCase((2,), 5, 3, "2:4"),
    ByteCase(("n",), 72, 20, "2:4", zero=0),
]


@pytest.mark.parametrize("element", ["int8", "uint8"])
@pytest.mark.parametrize("arch", ["sm_80", "gfx942", "gfx1100"])
def test_against_int64(arch: str, element: str) -> None:
    with (simulated_rocm if arch.startswith("gfx") else simulated_cuda)(arch, order="reverse") as simulation:
        check(SparseMatmul(), [replace(case, element=element) for case in CASES], simulation, SEED)


@pytest.mark.parametrize("element", ["int8", "uint8"])
def test_two_of_four_against_int64(element: str) -> None:
    with simulated_cuda("sm_80", order="reverse") as simulation:
        check(StructuredMatmul(), [replace(case, element=element) for case in STRUCTURED], simulation, SEED)


def large_and_best(kernel: Kernel[Gpu], pattern: str, arch: str) -> list[Implementation]:
    """The best tiling of a large product, and the one with the most sums."""
    space = kernel.match(ByteCase((2048,), 768, 768, pattern, 0.1, quantized=True).workload(), machine(arch))
    assert not isinstance(space, Refusal)
    points = sorted(space.points(), key=space.estimate)
    most = max(points, key=lambda point: point.warp_rows * point.warp_columns)
    return [space.build(point) for point in (points[0], most)]


@pytest.mark.parametrize(
    ("kernel", "pattern", "name"),
    [(SparseMatmul(), "16x1", "IMMA.16832"), (StructuredMatmul(), "2:4", "IMMA.SP.16864")],
)
def test_machine_code_of_nvidias(kernel: Kernel[Gpu], pattern: str, name: str) -> None:
    """The instruction that was meant, and no other; nothing spilled."""
    made = assembled(large_and_best(kernel, pattern, "sm_80"), "sm_80")
    code = machine_code(made.image)
    assert made.said.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") == 2
    assert code.count(name) >= 4
    assert code.count("IMMA") == code.count(name)


@pytest.mark.parametrize(
    ("arch", "name"),
    [("gfx90a", "v_mfma_i32_"), ("gfx942", "v_mfma_i32_"), ("gfx1100", "v_wmma_i32_"), ("gfx1200", "v_wmma_i32_")],
)
def test_machine_code_of_amds(arch: str, name: str) -> None:
    found = of_implementations(arch, large_and_best(SparseMatmul(), "16x1", arch))
    for used in found.used:
        assert (used.vector_spills, used.private_bytes) == (0, 0), used
    assert name in found.assembly


@pytest.mark.parametrize(
    ("arch", "pattern", "density", "kernel"),
    [
        ("cuda:sm_80", "16x1", 0.1, "gpu.sparse_matmul"),
        ("cuda:sm_80", "2:4", 0.5, "gpu.structured_matmul"),
        ("cuda:sm_80", "1x1", 0.9, "gpu.matrix"),
        ("rocm:gfx942", "16x1", 0.1, "gpu.sparse_matmul"),
    ],
)
def test_models_take_them_where_they_are_faster(arch: str, pattern: str, density: float, kernel: str) -> None:
    """Of MatMulInteger, as models that quantize at run time have it."""
    draw, shape = np.random.default_rng(SEED), (768, 3072)
    mask = weight_of(Pattern.parse(pattern).keep(draw.random(shape[::-1]), density), 1, shape)
    text = (
        """(uint8[4096,768] x) => (float[4096,3072] y) { t = MatMulInteger(x, w, z) f = Cast<to=1>(t) y = Mul(f, s) }"""
    )
    weight = (draw.integers(1, 127, shape, np.int8) * mask).astype(np.int8)
    model = TextModel(text, {"w": weight, "z": np.array(131, np.uint8), "s": np.float32(draw.random(3072))})
    with simulated(target(arch)) as (onto, _):
        (choice,) = compile_model(model.proto(), target=onto).model.choices
    assert choice.kernel == kernel


def test_refusals() -> None:
    def refused(kernel: Kernel[Gpu], case: ByteCase, arch: str) -> str:
        found = kernel.match(case.workload(), machine(arch))
        assert isinstance(found, Refusal)
        return found.reason

    assert refused(SparseMatmul(), CASES[0], "gfx906") == "no tile fits the machine"
    assert (
        refused(StructuredMatmul(), STRUCTURED[0], "sm_75")
        == "no instruction on matrices of uint8 of which half is there"
    )
