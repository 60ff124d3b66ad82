"""The code of a product by a sparse weight: a block of threads computes a tile of the result, a step of its depth after
the other.

What a step needs of the left factor is in shared memory, input by input; while it is multiplied, the next one is on its
way. Warps have groups of outputs: each goes through the fragments that its groups keep of the step, however many these
are, with the weights of the next one on their way to registers, also from step to step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Corner, Operand
from dsc.targets.gpu.matrix.side import WORD_BITS, Side
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS
from dsc.targets.gpu.matrix.transport import Transport, as_words
from dsc.targets.gpu.sparse.gathering import Gathering, Weights
from dsc.targets.gpu.sparse.lines import LinesOfDepth, bring
from dsc.targets.gpu.sparse.tiling import SparseTiling
from dsc.targets.gpu.sparse.warps import Step, Warp, WarpWriter
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, flat


@dataclass(frozen=True)
class Kept:
    """The arrays of a weight that is packed as `KeptInputs`, as inputs of the function."""

    starts: te.Tensor
    lines: te.Tensor
    values: te.Tensor
    sums: te.Tensor | None = None
    """Of each output's weights."""


def write(
    source: Contraction, side: Side, kept: Kept, tiling: SparseTiling, by: Gathering, machine: Gpu
) -> tirx.PrimFunc:
    """The function that computes `source`, among whose parameters are those of `kept`. side: the left factor."""
    return _Writer(source, side, kept, tiling, by, machine).written()


class _Writer(WarpWriter["_Stream"]):
    def __init__(
        self, source: Contraction, side: Side, kept: Kept, tiling: SparseTiling, by: Gathering, machine: Gpu
    ) -> None:
        super().__init__(source, side, tiling, by, machine, kept.sums)
        self.kept, self.gathering = kept, by

    def inputs(self, corner: Corner, shared: tirx.Buffer, thread: Expr, threads: int) -> tuple[Operand, Transport]:
        machine = self.machine
        found = LinesOfDepth(self.side, corner, self.depth, True, self.loops, 0, sector_bytes=machine.sector_bytes)
        return found, bring(found, shared, thread, threads, self.buffers, leaves(self.buffers), machine)

    def step(self, warp: Warp[_Stream]) -> Step:
        by, streams, tile = self.gathering, warp.streams, warp.inputs.tile

        def step(number: Expr, stage: Expr) -> None:
            def place(line: Expr, chunk: Expr) -> Expr:
                return tile.place(stage, line, chunk)

            for j, stream in enumerate(streams):
                with stream.fragments(number) as fragment:
                    for part in range(by.parts):
                        weights = stream.registers(fragment, part)
                        with unrolled(warp.fragments) as i:
                            first, row = (i * len(streams) + j) * by.sums, warp.first_row + i * by.rows
                            by.multiply(warp.sums, first, warp.lane, warp.shared, place, row, weights)
                        stream.release(fragment, part)

        return step

    def stream(self, group: Expr, lane: Expr) -> _Stream:
        starts, lines, values = (self.buffers[each] for each in (self.kept.starts, self.kept.lines, self.kept.values))
        words = as_words(values, self.side.bits, self.gathering.word)
        cell = T.Bind(group * self.loops.const(self.steps))
        return _Stream(self.gathering, flat(starts), flat(lines), words, self.side.bits, cell, lane)


class _Stream:
    """The fragments of a group, one after the other: their weights in registers, and where inputs lie."""

    def __init__(
        self, by: Gathering, starts: tirx.Buffer, lines: tirx.Buffer, values: tirx.Buffer, bits: int, cell: Expr,
        lane: Expr,
    ) -> None:  # fmt: skip
        """Allocates the registers, and starts to load the first fragment. bits: of a weight. cell: the first one."""
        self.by, self.starts, self.lines, self.values, self.cell, self.lane = by, starts, lines, values, cell, lane
        self.words = len(by.layout) * bits // WORD_BITS
        self.current, self.following = self._registers(), None
        if by.parts == 1:
            self.following = self._registers()
        first = T.Bind(starts[cell])
        for part in range(by.parts):
            self._load(first, part)

    def _registers(self) -> Weights:
        by = self.by
        places = T.alloc_buffer((by.parts * by.known,), "int32", scope="local")
        return Weights(T.alloc_buffer((by.parts * by.words,), by.word, scope="local"), places)

    def _load(self, fragment: Expr, part: int) -> None:
        """Starts to load a part of a fragment."""
        by, own, into = self.by, Loops(), self.following or self.current
        first = T.Bind(fragment * self.words + by.first_word(self.lane, part))
        for word in range(0, by.words, CHUNK_WORDS):
            span = own.span(part * by.words + word, CHUNK_WORDS)
            T.buffer_store(into.weights, self.values[Loops().span(first + word, CHUNK_WORDS)], [span])
        slots, together = by.slots(self.lane, part), by.neighbours
        for i in range(0, len(slots), together):
            found = self.lines[Loops().span(fragment * by.deep + slots[i], together)]
            T.buffer_store(into.lines, found, [own.span(part * by.known + i, together)])

    @contextmanager
    def fragments(self, step: Expr) -> Iterator[Expr]:
        """A loop over those of a step; gives the number of each."""
        cell = T.Bind(self.cell + step)
        begin, end = T.Bind(self.starts[cell]), T.Bind(self.starts[cell + 1])
        with T.serial(tirx.const(0, "int32"), end - begin) as i:
            yield T.Bind(begin + i)

    def registers(self, fragment: Expr, part: int) -> Weights:
        """Those of a part, while the next fragment is loaded to others if it is the only part."""
        if self.following is not None:
            for current, following in zip(self.current, self.following, strict=True):
                with unrolled(int(current.shape[0])) as i:
                    T.buffer_store(current, following[i], [i])
            self._load(fragment + 1, part)
        return self.current.of(part, self.by)

    def release(self, fragment: Expr, part: int) -> None:
        """Once a part is multiplied, its registers are the next fragment's."""
        if self.following is None:
            self._load(fragment + 1, part)
