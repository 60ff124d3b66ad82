"""Estimates from what the simulator counted: each part is the machine's figure times the count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsc.check.counted import counted_calls
from dsc.codegen.selection import Choice
from dsc.lower.demand import Demand
from dsc.simulator import Counters
from dsc.targets.bound import bound
from dsc.targets.cuda.machines import BY_TAG
from dsc.targets.gpu.machine import Gpu

A100 = BY_TAG["sm_80"]
NOTHING = Counters(
    launches=1, blocks=108, threads=108 * 64, global_loads=0, global_stores=0, global_bytes=0, global_sectors=0,
    global_sectors_ideal=0, shared_loads=0, shared_stores=0, shared_wavefronts=0, shared_wavefronts_ideal=0,
    async_copies=0, atomics=0, barriers=0, warp_collectives=0, matrix_loads=0, matrix_multiplies=0, matrix_macs=0,
    shared_bytes=0,
)  # fmt: skip


def choice(demand: Demand | None, machine: Gpu = A100) -> Choice:
    limit = None if demand is None else bound(machine, demand, 0.0)
    return Choice("f", "k", "w", "gpu.k", "p", 1.0, (), 1, demand=demand, bound=limit)


def test_each_part_is_a_figure_of_the_machine() -> None:
    demand = Demand(10**9, "float16", 0, 1 << 20)
    counters = replace(NOTHING, global_sectors=10**6, shared_wavefronts=10**5, matrix_macs=10**9)
    (call,) = counted_calls(A100, [choice(demand)], {"f_kernel": counters, "other_kernel": NOTHING})
    assert call.l2_seconds == pytest.approx(32e6 / 5400e9)
    assert call.memory_seconds == pytest.approx((1 << 20) / 5400e9)
    assert call.shared_seconds == pytest.approx(1e5 / (108 * 1.41e9))
    assert call.multiply_seconds == pytest.approx(2e9 / 312e12, rel=0.01)
    assert call.launch_seconds == A100.launch_seconds
    assert call.seconds == pytest.approx(call.multiply_seconds + A100.launch_seconds)
    assert call.share == pytest.approx(call.multiply_seconds / call.seconds)


def test_launches_within_a_graph_take_less() -> None:
    demand = Demand(10**9, "float16", 0, 1 << 20)
    alone, in_graph = (
        counted_calls(machine, [choice(demand)], {"f_kernel": NOTHING})[0] for machine in (A100, A100.in_graphs())
    )
    assert in_graph.launch_seconds == A100.graph_launch_seconds
    assert alone.seconds - in_graph.seconds == pytest.approx(A100.launch_seconds - in_graph.launch_seconds)


def test_what_tensor_cores_did_not_multiply_others_did() -> None:
    demand = Demand(10**9, "float16", 0, 8)
    (by_others,) = counted_calls(A100, [choice(demand)], {"f_kernel": NOTHING})
    assert by_others.multiply_seconds == pytest.approx(2e9 / 19.5e12, rel=0.01)
    half = {"f_kernel": replace(NOTHING, matrix_macs=10**9 // 2)}
    (by_both,) = counted_calls(A100, [choice(demand)], half)
    assert by_both.multiply_seconds == pytest.approx(1e9 / 312e12 + 1e9 / 19.5e12, rel=0.01)


def test_one_block_more_than_there_are_multiprocessors_takes_twice_as_long() -> None:
    demand = Demand(10**9, "float32", 0, 8)
    times = [
        counted_calls(A100, [choice(demand)], {"f_kernel": replace(NOTHING, blocks=blocks)})[0].multiply_seconds
        * blocks
        for blocks in (108, 109, 216)
    ]
    assert times[1] == pytest.approx(times[2])
    assert times[1] == pytest.approx(2 * times[0])


def test_launches_of_a_function_are_one_call_and_calls_are_averaged() -> None:
    twice = replace(NOTHING, launches=2, blocks=216, global_sectors=2000)
    counters = {"f_kernel": twice, "f_kernel_1": twice, "g_kernel": NOTHING}
    (call,) = counted_calls(A100, [choice(None)], counters)
    assert call.l2_seconds == pytest.approx(2000 * 32 / 5400e9)
    assert call.launch_seconds == pytest.approx(2 * A100.launch_seconds)
    assert call.share is None
