"""The code of a product by a weight of which two of four inputs are kept: the dense factor goes to shared memory, as in
`dsc.targets.gpu.matrix.code`, weights to registers of the warps that have their outputs, a piece ahead."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Corner, Operand
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.transport import Transport, as_words, transport
from dsc.targets.gpu.sparse.tiling import SparseTiling
from dsc.targets.gpu.sparse.warps import Step, Warp, WarpWriter
from dsc.targets.gpu.structured.instruction import WORDS, MmaSparse
from dsc.targets.gpu.structured.packing import LANES
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, flat

REGISTER = "uint32"


def write(
    source: Contraction, side: Side, packed: Sequence[te.Tensor], tiling: SparseTiling, by: MmaSparse, machine: Gpu
) -> tirx.PrimFunc:
    """The function that computes `source`, among whose parameters are those of `packed`: values, metadata, and maybe
    sums of weights. side: the left factor."""
    return _Writer(source, side, packed, tiling, by, machine).written()


class _Writer(WarpWriter["_Stream"]):
    def __init__(
        self, source: Contraction, side: Side, packed: Sequence[te.Tensor], tiling: SparseTiling, by: MmaSparse,
        machine: Gpu,
    ) -> None:  # fmt: skip
        super().__init__(source, side, tiling, by, machine, packed[2] if len(packed) > 2 else None)
        self.packed, self.instruction = packed, by
        self.pieces = self.depth // by.deep
        """Of a step."""

    def inputs(self, corner: Corner, shared: tirx.Buffer, thread: Expr, threads: int) -> tuple[Operand, Transport]:
        machine = self.machine
        found = Operand(self.side, corner, self.depth, False, self.loops, 0, sector_bytes=machine.sector_bytes)
        return found, transport(found, shared, thread, threads, self.buffers, leaves(self.buffers), machine)

    def step(self, warp: Warp[_Stream]) -> Step:
        by, streams, fragments = self.instruction, warp.streams, warp.fragments
        dense = T.alloc_buffer((fragments * by.inputs,), REGISTER, scope="local")

        def load(i: Expr, stage: Expr, chunk: int) -> None:
            def place(line: Expr, number: Expr) -> Expr:
                return warp.inputs.tile.place(stage, warp.first_row + i * by.rows + line, number + chunk)

            by.load(warp.lane, dense, i * by.inputs, warp.shared, place)

        def step(number: Expr, stage: Expr) -> None:
            for piece in range(self.pieces):
                for stream in streams:
                    stream.take(number * self.pieces + piece)
                for which in range(by.pair):
                    with unrolled(fragments) as i:
                        load(i, stage, (piece * by.pair + which) * (by.depth // self.side.chunk))
                    for j, stream in enumerate(streams):
                        with unrolled(fragments) as i:
                            first = (i * len(streams) + j) * by.sums
                            metadata = stream.metadata[0]
                            by.multiply(warp.sums, first, stream.weights, which, metadata, dense, i * by.inputs)

        return step

    def stream(self, group: Expr, lane: Expr) -> _Stream:
        values, metadata = (self.buffers[each] for each in self.packed[:2])
        first = T.Bind(group * self.loops.const(self.steps) * self.pieces)
        words = as_words(values, self.side.bits, REGISTER)
        return _Stream(words, flat(metadata), first, lane, self.instruction.pair)


class _Stream:
    """Pieces of a weight, one after the other: one in registers, the next on its way to others."""

    def __init__(self, values: tirx.Buffer, metadata: tirx.Buffer, first: Expr, lane: Expr, pair: int) -> None:
        """Allocates the registers, and starts to load the first piece, which is that of the group. pair: instructions
        that share metadata."""
        self._values, self._metadata, self._first, self._lane, self._pair = values, metadata, first, lane, pair
        self.weights, self._next_weights = (T.alloc_buffer((pair * WORDS,), REGISTER, scope="local") for _ in range(2))
        self.metadata, self._next_metadata = (T.alloc_buffer((1,), REGISTER, scope="local") for _ in range(2))
        self._load(first)

    def _load(self, piece: Expr) -> None:
        own, start = Loops(), T.Bind(piece * (self._pair * LANES * WORDS) + self._lane * WORDS)
        for which in range(self._pair):
            loaded = self._values[own.span(start + which * (LANES * WORDS), WORDS)]
            T.buffer_store(self._next_weights, loaded, [own.span(which * WORDS, WORDS)])
        bits = tirx.reinterpret(REGISTER, self._metadata[piece * LANES + self._lane])
        T.buffer_store(self._next_metadata, bits, [0])

    def take(self, piece: Expr) -> None:
        """A piece, by its number in the group, is that of the registers; the next is loaded."""
        with unrolled(self._pair * WORDS) as i:
            T.buffer_store(self.weights, self._next_weights[i], [i])
        T.buffer_store(self.metadata, self._next_metadata[0], [0])
        self._load(T.Bind(self._first + piece + 1))
