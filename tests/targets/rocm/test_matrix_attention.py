"""Attention on matrix cores: numbers on the simulator, and what LLVM makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dsc.simulator import simulated_rocm
from dsc.targets import Point, Space
from dsc.targets.gpu.matrix_attention import AttendMatrices
from dsc.targets.gpu.matrix_attention.space import AttentionSpace
from tests.targets.cuda.simulated import check, machine
from tests.targets.cuda.test_matrix_attention import bert
from tests.targets.half_attention import HALVES
from tests.targets.rocm.compiled import of_implementations
from tests.targets.test_attention import CASES

SINGLES = [CASES[1]]
"""Probabilities that may not be rounded."""


def space(arch: str, size: int = 64) -> AttentionSpace:
    found = AttendMatrices().match(bert(2, 128, 4, size).workload(), machine(arch))
    assert isinstance(found, AttentionSpace), found
    return found


@pytest.mark.parametrize("arch", ["gfx90a", "gfx942", "gfx1100", "gfx1200"])
def test_numbers(arch: str) -> None:
    """The last threads first: where lanes have their registers, and that they wait. Both sizes of MFMA."""

    def small(found: Space) -> Sequence[Point]:
        """Of each instruction, one of few threads."""
        of_one_warp = {point.instruction: point for point in found.points() if point.warps == 1 and point.keys <= 64}
        return list(of_one_warp.values())

    with simulated_rocm(arch, order="reverse") as simulation:
        check(AttendMatrices(), [HALVES[1], *(SINGLES if arch == "gfx942" else [])], simulation, small)
        counted = simulation.counters().values()
    assert len(counted) == len(space(arch).instructions) * (2 if arch == "gfx942" else 1)
    assert all(each.matrix_macs for each in counted)


def test_memory_is_read_side_by_side_and_banks_do_not_conflict() -> None:
    """Values too, which are transposed on the way."""
    with simulated_rocm("gfx942", order=3) as simulation:
        check(AttendMatrices(), [bert(1, 64, 1, 64)], simulation)
        (counted,) = simulation.counters().values()
    assert counted.coalescing >= 0.95
    assert counted.bank_conflicts == 0


@pytest.mark.parametrize(
    ("arch", "mnemonic", "sizes"),
    [("gfx90a", "v_mfma_f32_", (64, 128)), ("gfx942", "v_mfma_f32_", (64, 128)), ("gfx1100", "v_wmma_f32_", (64, 40))],
)
def test_all_is_in_registers_and_multiplied_by_matrix_instructions(
    arch: str, mnemonic: str, sizes: tuple[int, int]
) -> None:
    """What is estimated to be the fastest, of heads of these sizes."""
    spaces = [space(arch, size) for size in sizes]
    points = [min(each.points(), key=each.estimate) for each in spaces]
    found = of_implementations(arch, [each.build(point) for each, point in zip(spaces, points, strict=True)])
    for each, point, used in zip(spaces, points, found.used, strict=True):
        assert (used.vector_spills, used.private_bytes) == (0, 0), used
        assert used.vector_registers <= machine(arch).registers_per_thread
        assert used.shared_bytes == each.shape(point).shared_bytes
    assert mnemonic in found.assembly
    assert "v_exp_f32" in found.assembly
