"""Products of bytes by sparse weights, on simulated GPUs of both makers: exactly."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dsc.simulator import simulated_cuda, simulated_rocm
from dsc.targets.gpu.sparse import SparseMatmul
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


@pytest.mark.parametrize("element", ["int8", "uint8"])
@pytest.mark.parametrize("arch", ["sm_80", "gfx942", "gfx1100"])
def test_against_int64(arch: str, element: str) -> None:
    with (simulated_rocm if arch.startswith("gfx") else simulated_cuda)(arch, order="reverse") as simulation:
        check(SparseMatmul(), [replace(case, element=element) for case in CASES], simulation, SEED)
