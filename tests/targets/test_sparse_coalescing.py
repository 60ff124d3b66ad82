"""Products by sparse weights fetch little that they do not use, also where rows are no whole pieces of memory."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dsc.simulator import simulated_cuda, simulated_rocm
from dsc.targets import Kernel, Refusal
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.sparse import SparseMatmul
from dsc.targets.gpu.structured import StructuredMatmul
from tests.coalescing.sparse import assert_used, counted, products
from tests.targets.cuda.simulated import backend, library, machine
from tests.targets.sparse_bytes import ByteCase, run

SEED = random.SystemRandom().randrange(1 << 30)


@pytest.mark.parametrize("arch", ["sm_80", "gfx942"])
@pytest.mark.parametrize("element", ["float32", "float16"])
def test_of_blocks_of_outputs(element: str, arch: str) -> None:
    """(0.08 to 0.24 for odd rows, where neighbouring threads load elements of neighbouring rows.)"""
    assert_used(counted(SparseMatmul(), products(element, "4x1", 0.1), arch, SEED))


def test_of_two_of_four() -> None:
    assert_used(counted(StructuredMatmul(), products("float16", "2:4", 0.5), "sm_80", SEED))


@pytest.mark.parametrize(
    ("kernel", "pattern", "arch", "depths"),
    [
        (SparseMatmul(), "16x1", "sm_80", (208, 272)),
        (SparseMatmul(), "16x1", "gfx942", (256, 384)),
        (StructuredMatmul(), "2:4", "sm_80", (208, 272)),
    ],
)
def test_of_bytes(kernel: Kernel[Gpu], pattern: str, arch: str, depths: tuple[int, int]) -> None:
    """Results, and on NVIDIA's rows, that begin within a piece of memory. (0.7 to 0.8 of such rows on AMD's, 0.6 to 0.7
    of rows of odd lengths or shorter than a piece of memory.)"""
    found = []
    with (simulated_rocm if arch.startswith("gfx") else simulated_cuda)(arch, order="reverse") as simulation:
        sizes = ((197,), depths[0], 96), ((2, 65), depths[1], 50)
        for name, (rows, depth, columns) in zip(("k0", "k1"), sizes, strict=True):
            case = ByteCase(rows, depth, columns, pattern, 0.2)
            space = kernel.match(case.workload(), machine(arch))
            assert not isinstance(space, Refusal)
            implementation = space.build(min(space.points(), key=space.estimate))
            code = library({name: implementation.func}, backend(simulation))
            arrays = case.arrays(np.random.default_rng(SEED))
            result = run(case, arrays, implementation, code[name], simulation)
            np.testing.assert_array_equal(result, case.exact(arrays))
            found.append(simulation.counters()[f"{name}_kernel"])
    assert_used(found)
