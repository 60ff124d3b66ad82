"""Counters are what a device's would be: numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.simulator import Counters, simulated_cuda
from tests.simulator.cases import BY_NAME

THREADS = 64


def counted(body: str, n: int = 1024) -> Counters:
    """Of one block of two warps that has an array to read and one to write."""
    source = f"""
extern "C" __global__ void __launch_bounds__({THREADS}) k(const float* x, float* y, int n) {{
  __shared__ float s[2048];
  int t = threadIdx.x;
  {body}
}}
"""
    x = np.random.default_rng(0).standard_normal(n, np.float32)
    with simulated_cuda("sm_80") as simulation:
        simulation.launch(source, "k", (1,), (THREADS,), x, np.zeros_like(x), n)
        return simulation.counters()["k"]


@pytest.mark.parametrize(
    ("index", "sectors", "ideal"),
    [
        ("t", 2 * 4, 2 * 4),
        ("t * 2", 2 * 8, 2 * 4),
        ("t * 8", 2 * 32, 2 * 4),
        ("t + 1", 2 * 5, 2 * 4),
        ("0", 2 * 1, 2 * 1),
        ("63 - t", 2 * 4, 2 * 4),
    ],
)
def test_sectors_of_a_load(index: str, sectors: int, ideal: int) -> None:
    counters = counted(f"float v = x[{index}]; if (v == 12345.0f) y[t] = v;")
    assert (counters.global_loads, counters.global_stores) == (2, 0)
    assert (counters.global_sectors, counters.global_sectors_ideal) == (sectors, ideal)


def test_vectors_are_one_access() -> None:
    counters = counted("((float4*)y)[t] = ((const float4*)x)[t];")
    assert (counters.global_loads, counters.global_stores) == (2, 2)
    assert counters.global_bytes == 2 * 64 * 16
    assert counters.global_sectors == counters.global_sectors_ideal == 2 * 64 * 16 // 32


def test_structures_are_moved_by_the_widest_accesses_that_fit() -> None:
    """Twelve bytes are three words; thirty-two are two vectors."""
    counters = counted("((float3*)s)[t] = ((const float3*)x)[t];")
    assert (counters.global_loads, counters.shared_stores) == (2 * 3, 2 * 3)
    eight = "struct eight { float4 a, b; }; ((eight*)s)[t] = ((const eight*)x)[t];"
    counters = counted(eight)
    assert (counters.global_loads, counters.shared_stores) == (2 * 2, 2 * 2)
    assert counters.global_bytes == 64 * 32


def test_lanes_that_do_not_take_part_count_nothing() -> None:
    counters = counted("if (t % 4 == 0) y[t] = x[t];")
    assert (counters.global_loads, counters.global_sectors, counters.global_sectors_ideal) == (2, 16, 4)


@pytest.mark.parametrize(
    ("index", "taken"),
    [("t", 2), ("t * 2", 2 * 2), ("t * 32", 2 * 32), ("t * 33 % 2048", 2), ("t * 4", 2 * 4)],
)
def test_conflicts_of_banks(index: str, taken: int) -> None:
    counters = counted(f"s[{index}] = x[t];")
    assert (counters.shared_stores, counters.shared_wavefronts_ideal) == (2, 2)
    assert (counters.shared_wavefronts, counters.bank_conflicts) == (taken, taken - 2)


def test_banks_of_vectors() -> None:
    """16 bytes take four passes of eight lanes; a stride of 32 bytes puts two lanes of eight into each bank."""
    counters = counted("((float4*)s)[t] = ((const float4*)x)[t];")
    assert (counters.shared_stores, counters.shared_wavefronts) == (2, 8)
    counters = counted("((float4*)s)[t * 2] = ((const float4*)x)[t];")
    assert (counters.shared_stores, counters.shared_wavefronts, counters.shared_wavefronts_ideal) == (2, 16, 8)


def test_a_loop_longer_than_the_log() -> None:
    """Lanes catch up with each other, so that accesses still meet."""
    counters = counted("float v = 0; for (int i = 0; i < 2000; ++i) v += x[(t + i) % n]; y[t] = v;", n=4096)
    assert counters.global_loads == 2 * 2000
    assert counters.global_bytes == (2 * 2000 + 2) * 128
    assert counters.coalescing > 0.75


def test_instructions_of_tensor_cores() -> None:
    case = BY_NAME["tensor"]
    with simulated_cuda("sm_80") as simulation:
        assert case.error(simulation, case.source) <= case.tolerance
        counters = simulation.counters()["tensor"]
    steps = 3
    assert counters.matrix_multiplies == steps * 2 * 2
    assert counters.matrix_macs == 32 * 16 * 48
    assert counters.matrix_loads == steps * 2 * 2
    assert counters.async_copies == steps * (64 + 32)
    assert counters.barriers == steps * 2 * 2
    # Rows of 48 bytes: ldmatrix meets no bank twice, but each eight lanes that copy 32 bytes of four rows do.
    assert counters.bank_conflicts == steps * (64 + 32) // 8


def test_counters_are_the_same_in_every_order_and_by_two_workers() -> None:
    case, found = BY_NAME["matmul"], []
    for order, workers in (("forward", 1), ("reverse", 2), (5, 1)):
        with simulated_cuda("sm_80", order=order, workers=workers) as simulation:
            case.error(simulation, case.source)
            found.append(simulation.counters()["matmul"])
    assert found[0] == found[1] == found[2]
    assert found[0].blocks == 6
