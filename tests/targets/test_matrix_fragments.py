"""Where instructions on matrices have what, by the vendors' descriptions: no kernel is compiled."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import tirx

from dsc.lower.exprs import simplify
from dsc.targets import target
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.instructions import fragments_of
from dsc.targets.gpu.matrix.tiling import BANKED_CHUNKS, CHUNK_WORDS, SharedTile
from dsc.targets.machine import MultiplyAdd

MACHINES = (
    "cuda:sm_75", "cuda:sm_80", "rocm:gfx906", "rocm:gfx90a", "rocm:gfx942", "rocm:gfx1030", "rocm:gfx1100",
    "rocm:gfx1200",
)  # fmt: skip


def gpu(tag: str) -> Gpu:
    found = target(tag).machine
    assert isinstance(found, Gpu)
    return found


def kinds(tag: str) -> list[tuple[MultiplyAdd, Fragments]]:
    """The instructions that have fragments."""
    return [(row, found) for row in gpu(tag).instructions if (found := fragments_of(row)) is not None]


def positions(fragments: Fragments, lanes: int) -> np.ndarray:
    """``[lane, register] -> (row, column)``."""

    def place(lane: int, register: int) -> list[object]:
        return [simplify(index) for index in fragments.position(tirx.const(lane, "int32"), register)]

    found = [[place(lane, register) for register in range(fragments.sums)] for lane in range(lanes)]
    return np.array(found)


@pytest.mark.parametrize("tag", MACHINES)
def test_every_sum_is_in_one_register_of_one_lane(tag: str) -> None:
    assert kinds(tag)
    for row, fragments in kinds(tag):
        places = positions(fragments, gpu(tag).warp).reshape(-1, 2)
        assert len(places) == fragments.rows * fragments.columns, row.intrinsic
        numbers = places @ [fragments.columns, 1]
        assert sorted(numbers) == list(range(len(places))), row.intrinsic


@pytest.mark.parametrize("tag", MACHINES)
def test_neighbouring_registers_are_neighbours_in_a_row(tag: str) -> None:
    for _, fragments in kinds(tag):
        places = positions(fragments, gpu(tag).warp)
        for register in range(0, fragments.sums, fragments.run):
            for step in range(1, fragments.run):
                moved = places[:, register + step] - places[:, register]
                assert (moved == [0, step]).all()


@pytest.mark.parametrize(
    ("tag", "intrinsic", "lane", "register", "place"),
    [  # PTX ISA, figures of the accumulator of mma.m16n8k16; AMD Matrix Instruction Calculator; RDNA 3 and 4 ISA guides
        ("cuda:sm_80", "m16n8k16", 5, 1, (1, 3)),
        ("cuda:sm_80", "m16n8k16", 31, 2, (15, 6)),
        ("cuda:sm_80", "m16n8k16", 5, 5, (1, 11)),
        ("cuda:sm_80", "m16n8k32", 30, 7, (15, 13)),
        ("cuda:sm_75", "m8n8k16", 30, 2, (15, 4)),
        ("rocm:gfx942", "32x32x16.i8", 37, 5, (13, 5)),
        ("rocm:gfx1100", "16x16x16.iu8", 20, 3, (7, 4)),
        ("rocm:gfx942", "16x16x16f16", 37, 2, (10, 5)),
        ("rocm:gfx942", "32x32x8f16", 37, 5, (13, 5)),
        ("rocm:gfx942", "16x16x4f32", 37, 2, (10, 5)),
        ("rocm:gfx90a", "32x32x8bf16.1k", 31, 15, (27, 31)),
        ("rocm:gfx1100", "16x16x16.f16", 20, 3, (7, 4)),
        ("rocm:gfx1200", "16x16x16.f16", 20, 3, (11, 4)),
    ],
)
def test_where_sums_are(tag: str, intrinsic: str, lane: int, register: int, place: tuple[int, int]) -> None:
    fragments = next(found for row, found in kinds(tag) if intrinsic in str(row.intrinsic))
    assert tuple(positions(fragments, gpu(tag).warp)[lane, register]) == place


def test_all_depth_is_multiplied_by_whole_instructions() -> None:
    """Registers of a fragment, over all lanes, hold its lines once; where halves of a wavefront repeat them, twice."""
    for tag in MACHINES:
        for row, fragments in kinds(tag):
            if row.m == 1:
                continue  # lanes that share a row or a column each read it
            held = fragments.words * gpu(tag).warp
            needed = fragments.rows * fragments.chunks * CHUNK_WORDS
            repeated = tag == "rocm:gfx1100"
            assert held == needed * (2 if repeated else 1), row.intrinsic


@pytest.mark.parametrize("chunks", [2, 4, 6, 8, 12, 16, 24, 32])
def test_chunks_of_a_column_lie_in_different_banks(chunks: int) -> None:
    tile = SharedTile(32, chunks)

    def place(line: int, chunk: int) -> object:
        return simplify(tile.place(*(tirx.const(index, "int32") for index in (0, line, chunk))))

    words = np.array([[place(line, chunk) for chunk in range(chunks)] for line in range(32)])
    assert sorted(words.ravel()) == list(range(0, tile.words, CHUNK_WORDS))
    groups = words // CHUNK_WORDS % BANKED_CHUNKS
    for first in range(0, 32, BANKED_CHUNKS):
        for chunk in range(chunks):
            assert len(set(groups[first : first + BANKED_CHUNKS, chunk])) == BANKED_CHUNKS


def test_interleaved_columns_give_lanes_neighbours() -> None:
    """Where sums are then, is where those of the instruction are, once lines are the columns that they say."""
    for row, fragments in kinds("cuda:sm_80"):
        other = fragments.interleaved
        assert other is not None, row.intrinsic
        assert other.run == 4
        columns = [simplify(other.order(tirx.const(line, "int32"))) for line in range(2 * other.columns)]
        assert sorted(columns) == list(range(2 * other.columns))
        before, after = positions(fragments, 32), positions(other, 32)
        for lane in range(32):
            moved = {(line, columns[column]) for line, column in before[lane]}
            assert moved == {tuple(place) for place in after[lane]}
            assert (after[lane, 1:4] - after[lane, :3] == [0, 1]).all()
