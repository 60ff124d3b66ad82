"""The tilings of a contraction by instructions on matrices, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from dsc.lower.exprs import divides
from dsc.lower.nominal import batch, nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.estimate import BlockStep, steps_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.centering import centered
from dsc.targets.gpu.matrix.code import write
from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, Fragments
from dsc.targets.gpu.matrix.operand import is_transposed
from dsc.targets.gpu.matrix.results import VECTOR, is_direct
from dsc.targets.gpu.matrix.side import WORD_BITS, Side
from dsc.targets.gpu.matrix.tiling import CHUNKS, LOADS, SHAPES, SHORT, STAGES, WORD_BYTES, Centered, Tiling
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd

LOAD_INSTRUCTIONS = 12
"""That a thread executes to bring something to shared memory: where it is, whether it is there, to load it."""
PLACES_KEPT = 12
"""Loads of a step whose places a thread keeps in registers from step to step, where they lie in windows of an image;
of more it computes them again."""
WINDOW_INSTRUCTIONS = 48
"""To load channels of a pixel whose place in a window is computed again: by several divisions, and whether it is
inside. An H100 takes 15.7 us for 3x3 of 64 channels with 20 loads a step, and 5.3 with 7. Of single elements, as a stem
loads them, neighbours share that."""


@dataclass(frozen=True, eq=False)
class MatrixSpace:
    """Tiles of blocks and of warps, for each of the machine's instructions."""

    source: Contraction
    machine: Gpu
    sides: tuple[Side, Side]
    instructions: Mapping[str, tuple[MultiplyAdd, Fragments]]
    """By intrinsic."""

    @cached_property
    def _points(self) -> tuple[Tiling, ...]:
        return tuple(point for name in self.instructions for point in self._tilings(name))

    def points(self) -> Sequence[Tiling]:
        """Those that fit the machine: what is wasted on a small result shows in the estimate."""
        return self._points

    @property
    def _centered(self) -> Centered:
        return centered(*self.sides)

    def _fragments(self, point: Tiling) -> Fragments:
        """Those of its instruction, as sums are stored."""
        _, fragments = self.instructions[point.instruction]
        other = fragments.interleaved if point.direct else None
        return other or fragments

    def _is_direct(self, fragments: Fragments) -> bool:
        """Whether sums of these may go straight to memory: where chunks of the right factor are of one column, so that
        columns may be in another order."""
        (_, right), other = self.sides, fragments.interleaved
        in_chunks = right.together_in_depth == right.chunk and not is_transposed(right, fragments)
        return other is not None and in_chunks and is_direct(self.source, other, self.machine.sector_bytes)

    def _loads(self, fragments: Fragments, chunks: int) -> Sequence[int]:
        """Numbers of steps that may be on their way in registers at once: several where loads alone write these.
        What is converted, or replaced where it is not in memory, is waited for as soon as it is loaded."""
        by_loads = all(side.is_loaded and divides(chunks * side.chunk, side.deep) for side in self.sides)
        is_left_to_compilers = fragments.loads_move and not self.machine.copies_to_shared
        return LOADS if by_loads and is_left_to_compilers else LOADS[-1:]

    def _tilings(self, name: str) -> Iterator[Tiling]:
        _, fragments = self.instructions[name]
        direct = self._is_direct(fragments)
        stages = STAGES if self.machine.copies_to_shared else STAGES[-1:]
        for rows, columns, down, across, slices in SHAPES:
            for chunks in CHUNKS if fragments.chunks > 1 else (SHORT, *CHUNKS):
                for count, loads in product(stages, self._loads(fragments, chunks)):
                    is_whole = direct and slices == 1
                    tiling = Tiling(name, rows, columns, down, across, chunks, count, slices, loads, is_whole)
                    if tiling.suits(self._fragments(tiling), VECTOR, self.machine, self._centered):
                        yield tiling

    def estimate(self, point: Tiling) -> float:
        """Seconds: steps at the rate of multiplying, of reading operands from shared memory, of bringing them there, or
        of waiting for them."""
        (row, _), fragments = self.instructions[point.instruction], self._fragments(point)
        depth = point.chunks * self.sides[0].chunk
        multiplied = point.multiplied(fragments, self._centered)
        left, right = (is_transposed(side, fragments) for side in self.sides)
        step = BlockStep(
            threads=point.warps * self.machine.warp,
            registers=point.registers(fragments, self.machine, self._centered),
            shared_bytes=point.shared_bytes(fragments),
            products=point.warps * multiplied * fragments.rows * fragments.columns * depth // point.slices,
            shared_traffic=float(self._read_bytes(point) + point.staged_bytes),
            instructions=load_instructions(self.machine, self.sides, point, (left, right)),
            ahead=point.ahead,
            stored_traffic=float(2 * point.slices * point.rows * point.columns * WORD_BYTES),
            is_direct=point.direct,
            is_seamless=point.held_pieces(fragments) > 1,
        )
        return tiles_seconds(self.machine, self.source, self.sides[0].bits, row, point, step)

    def _read_bytes(self, point: Tiling) -> int:
        """From shared memory, by all warps, in a step."""
        return point.warps * (point.warp_rows + point.warp_columns) * point.warp_chunks * CHUNK_BYTES

    def build(self, point: Tiling) -> Implementation:
        """The code."""
        made = write(self.source, self.sides, point, self._fragments(point), self.machine)
        return Implementation(made, self.source.packings)


def tiles_seconds(
    machine: Gpu, source: Contraction, bits: int, row: MultiplyAdd, point: Tiling, step: BlockStep
) -> float:
    """Seconds of all tiles of a contraction, of which a block does `step` for each of the steps of its depth.

    bits: of an element of the factors, as it is multiplied."""
    depth = point.chunks * CHUNK_BYTES * 8 // bits
    m, n, k, batches = nominal(source.m), nominal(source.n), nominal(source.k), batch(source.batch)
    down, across = math.ceil(m / point.rows), math.ceil(n / point.columns)
    loaded = bits / 8 * batches * k * (across * m + down * n)
    tensors = (*source.params, *source.outputs)
    moved = sum(volume(tensor.shape) * element_bytes(tensor) for tensor in tensors)
    return steps_seconds(machine, step, row, batches * down * across, math.ceil(k / depth), moved, loaded)


def load_instructions(machine: Gpu, sides: tuple[Side, Side], point: Tiling, transposed: tuple[bool, bool]) -> float:
    """Of all warps of a block, in a step, to bring both factors to shared memory.

    transposed: of either, whether it goes there from line to line."""
    threads, loads, in_windows = point.warps * machine.warp, 0.0, 0.0
    for side, lines, across in zip(sides, (point.rows, point.columns), transposed, strict=True):
        together = side.together_in_lines if across else max(side.together_in_depth, side.converted)
        at_once = together if together * side.bits >= WORD_BITS else 1
        count = lines * point.chunks * side.chunk / at_once
        loads, in_windows = loads + count, in_windows + count * (side.is_window and at_once > 1)
    is_computed_again = loads > PLACES_KEPT * threads
    again = in_windows * (WINDOW_INSTRUCTIONS - LOAD_INSTRUCTIONS) if is_computed_again else 0.0
    return (loads * LOAD_INSTRUCTIONS + again) / machine.warp
