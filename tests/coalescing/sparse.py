"""Products by sparse weights on a simulated GPU: what each kernel uses of what it fetches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsc.simulator import Counters, simulated_cuda, simulated_rocm
from dsc.targets import Kernel
from dsc.targets.gpu.machine import Gpu
from tests.targets.cuda.simulated import backend, library, machine
from tests.targets.sparse_products import Case, run, space_of

SIZES = (((130,), 75, 100), ((197,), 200, 96), ((300,), 64, 50), ((3, 43), 320, 120))
"""Rows, depth and columns: odd rows; rows that begin within a piece of memory; results that do; several dims."""


def products(element: str, pattern: str, density: float) -> list[Case]:
    """A product of each of the sizes."""
    return [Case(rows, depth, columns, pattern, density, element) for rows, depth, columns in SIZES]


def counted(kernel: Kernel[Gpu], cases: Sequence[Case], arch: str, seed: int) -> list[Counters]:
    """Of the best point of each case, whose results are right."""
    draw = np.random.default_rng(seed)
    print(f"seed {seed}", flush=True)
    built = []
    for case in cases:
        space = space_of(kernel, case, machine(arch))
        built.append(space.build(min(space.points(), key=space.estimate)))
    with (simulated_rocm if arch.startswith("gfx") else simulated_cuda)(arch, order="reverse") as simulation:
        functions = {f"k{i}": implementation.func for i, implementation in enumerate(built)}
        code = library(functions, backend(simulation))
        for i, (case, implementation) in enumerate(zip(cases, built, strict=True)):
            arrays = case.arrays(draw)
            expected, bound = case.exact(arrays)
            found = run(case, arrays, implementation, code[f"k{i}"], simulation)
            assert (np.abs(found - expected) <= bound).all(), case
        counters = simulation.counters()
    return [counters[f"{name}_kernel"] for name in functions]


def assert_used(counters: Sequence[Counters]) -> None:
    """0.7 of what each fetches, and 0.8 of all together, at least."""
    assert all(each.coalescing >= 0.7 for each in counters), [each.coalescing for each in counters]
    assert sum(each.global_sectors_ideal for each in counters) >= 0.8 * sum(each.global_sectors for each in counters)
