"""How sums become operands, for every instruction, lane and register: no kernel is compiled."""

from __future__ import annotations

import pytest
from tvm import tirx

from dsc.lower.exprs import simplify
from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, Fragments
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS
from dsc.targets.gpu.matrix_attention.chain import Chain, chain_of
from dsc.targets.machine import MultiplyAdd
from tests.targets.test_matrix_fragments import MACHINES, gpu, kinds


def chunk(row: MultiplyAdd) -> int:
    """Elements of 16 bytes."""
    return CHUNK_BYTES // (4 if row.a in ("tfloat32", "float32") else 2)


def floats(tag: str) -> list[tuple[MultiplyAdd, Fragments]]:
    return [(row, fragments) for row, fragments in kinds(tag) if row.accumulator == "float32"]


def chains(tag: str) -> list[Chain]:
    """Of all instructions whose sums are float32: each has one."""
    found = [chain_of(fragments, gpu(tag).warp, chunk(row)) for row, fragments in floats(tag)]
    assert all(found)
    return [chain for chain in found if chain is not None]


def held(row: MultiplyAdd, fragments: Fragments, lane: int, element: int) -> tuple[object, object]:
    line, depth = (simplify(index) for index in fragments.held(tirx.const(lane, "int32"), element, chunk(row)))
    return line, depth


@pytest.mark.parametrize("tag", MACHINES)
def test_lanes_hold_all_of_an_operand(tag: str) -> None:
    """Once, or once in each half of the wavefront."""
    for row, fragments in floats(tag):
        elements, deep = fragments.words * chunk(row) // CHUNK_WORDS, fragments.chunks * chunk(row)
        found = [held(row, fragments, lane, i) for lane in range(gpu(tag).warp) for i in range(elements)]
        assert set(found) == {(line, depth) for line in range(fragments.rows) for depth in range(deep)}
        assert len(found) == len(set(found)) * (2 if tag == "rocm:gfx1100" else 1)


@pytest.mark.parametrize(
    ("tag", "intrinsic", "lane", "element", "place"),
    [  # PTX ISA, figures of matrix A of mma.m16n8k16 and mma.m16n8k8; AMD's matrix calculator; RDNA 3 and 4 ISA guides
        ("cuda:sm_80", "m16n8k16.row.col.f32.f16", 5, 0, (1, 2)),
        ("cuda:sm_80", "m16n8k16.row.col.f32.f16", 5, 3, (9, 3)),
        ("cuda:sm_80", "m16n8k16.row.col.f32.f16", 31, 4, (7, 14)),
        ("cuda:sm_80", "m16n8k8.row.col.f32.tf32", 5, 2, (1, 5)),
        ("rocm:gfx942", "32x32x8f16", 37, 6, (5, 14)),
        ("rocm:gfx942", "16x16x4f32", 37, 3, (5, 11)),
        ("rocm:gfx1100", "16x16x16.f16", 20, 9, (4, 9)),
        ("rocm:gfx1200", "16x16x16.f16", 20, 3, (4, 11)),
    ],
)
def test_where_elements_of_operands_are(
    tag: str, intrinsic: str, lane: int, element: int, place: tuple[int, int]
) -> None:
    row, fragments = next(found for found in floats(tag) if intrinsic in str(found[0].intrinsic))
    assert held(row, fragments, lane, element) == place


@pytest.mark.parametrize("tag", MACHINES)
def test_every_lane_has_of_an_operand_what_it_has_of_sums(tag: str) -> None:
    """The same lines, and all of their places, in the order that is said to be that of the depth."""
    for chain in chains(tag):
        moved: dict[int, int] = {}
        for lane in range(chain.warp):
            pairs = list(chain.places(lane))
            assert all(moved.setdefault(place, depth) == depth for place, depth in pairs)
            assert len(pairs) == len(chain.slots) * chain.unit // chain.across
        assert sorted(moved) == sorted(moved.values()) == list(range(chain.unit))
        for place, depth in moved.items():
            assert simplify(chain.ordered(tirx.const(place + chain.unit, "int32"))) == depth + chain.unit


@pytest.mark.parametrize("tag", MACHINES)
def test_lanes_that_share_a_line(tag: str) -> None:
    for chain in chains(tag):
        count, apart = chain.sharers
        by_line: dict[object, set[int]] = {}
        for lane in range(chain.warp):
            line, _ = chain.place(tirx.const(lane, "int32"), 0)
            by_line.setdefault(simplify(line), set()).add(lane)
        for lanes in by_line.values():
            assert lanes == {min(lanes) + i * apart for i in range(count)}
        assert len(by_line) * (max(chain.slots) + 1) == chain.lines


def test_rows_or_columns_and_the_registers_of_a_line() -> None:
    """Tensor cores have rows, of two halves of a matrix; matrix cores columns, of one."""
    assert {chain.by_rows for chain in chains("cuda:sm_80")} == {True}
    for tag in ("rocm:gfx942", "rocm:gfx1100", "rocm:gfx1200"):
        assert {chain.by_rows for chain in chains(tag)} == {False}
    assert {chain.slots for chain in chains("cuda:sm_80")} == {(0, 0, 1, 1, 0, 0, 1, 1)}
    assert [chain.run for chain in chains("rocm:gfx942")] == [4] * len(chains("rocm:gfx942"))
    assert {chain.is_shared for chain in chains("rocm:gfx1100")} == {True}


def test_registers_of_neighbouring_keys() -> None:
    found = {tag: [chain.neighbours for chain in chains(tag)] for tag in ("cuda:sm_80", "rocm:gfx942", "rocm:gfx1100")}
    assert found == {"cuda:sm_80": [2, 2, 1], "rocm:gfx942": [4] * 8, "rocm:gfx1100": [4, 4]}
