"""Products by sparse weights on AMD's GPUs: by what LLVM makes of them, and their numbers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dsc.simulator import simulated_rocm
from dsc.targets import Refusal
from dsc.targets.gpu.sparse import SparseMatmul
from tests.targets.rocm.compiled import machine, of_implementations
from tests.targets.sparse_products import Case, check, space_of

SEED = random.SystemRandom().randrange(1 << 30)
CASES = [Case((70,), 96, 40), Case((33,), 31, 50, "unstructured", 0.1), Case((64,), 200, 64, "16x1", transposed=True)]


@pytest.mark.parametrize(
    ("arch", "element"),
    [
        ("gfx906", "float32"),
        ("gfx90a", "bfloat16"),
        ("gfx942", "float16"),
        ("gfx942", "float32"),
        ("gfx1100", "float16"),
        ("gfx1200", "bfloat16"),
    ],
)
def test_against_float64(arch: str, element: str) -> None:
    with simulated_rocm(arch, order="reverse") as simulation:
        check(SparseMatmul(), [replace(case, element=element) for case in CASES], simulation, SEED)


@pytest.mark.parametrize(
    ("arch", "element", "mnemonic"),
    [
        ("gfx942", "float32", "v_pk_fma_f32"),
        ("gfx942", "float16", "v_mfma_f32_"),
        ("gfx90a", "bfloat16", "v_mfma_f32_"),
        ("gfx1100", "float16", "v_wmma_f32_"),
        ("gfx1100", "float32", "fma"),
        ("gfx1200", "float16", "v_wmma_f32_"),
    ],
)
def test_all_is_in_registers(arch: str, element: str, mnemonic: str) -> None:
    """The best tiling of a large product, and the one with the most sums."""
    space = space_of(SparseMatmul(), Case((2048,), 768, 768, "8x1", 0.1, element), machine(arch))
    points = sorted(space.points(), key=space.estimate)
    most = max(points, key=lambda point: point.warp_rows * point.warp_columns)
    found = of_implementations(arch, [space.build(point) for point in (points[0], most)])
    for used in found.used:
        assert (used.vector_spills, used.private_bytes) == (0, 0), used
    assert mnemonic in found.assembly


def test_halves_without_instructions_on_matrices_are_refused() -> None:
    found = SparseMatmul().match(Case((8,), 48, 48, element="float16").workload(), machine("gfx906"))
    assert found == Refusal("no instruction on matrices of float16")
