"""The frame of kernels by packed weights: the left factor goes to shared memory, a step ahead, and weights straight to
registers of the warps that have their outputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import shared_scope
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Corner, Operand
from dsc.targets.gpu.matrix.pipeline import Pipeline
from dsc.targets.gpu.matrix.results import Results, WarpTile
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.tiling import WORD_BYTES
from dsc.targets.gpu.matrix.transport import WORD, Transport
from dsc.targets.gpu.matrix.writer import TileWriter
from dsc.targets.gpu.sparse.tiling import Registers, SparseTiling
from dsc.targets.gpu.sparse.zero_points import ZeroPoints
from dsc.targets.gpu.tile import unrolled

Stream = TypeVar("Stream")
"""What brings the weights of a group of outputs to registers."""
Step: TypeAlias = Callable[[Expr, Expr], None]
"""Multiplies what a step has, by its number and the stage of shared memory that it is in."""


@dataclass(frozen=True)
class Warp(Generic[Stream]):
    """What a warp computes with."""

    lane: Expr
    first_row: Expr
    """In the tile of the block."""
    fragments: int
    """Of rows."""
    streams: Sequence[Stream]
    """Of its groups of outputs, in order."""
    sums: tirx.Buffer
    """``[fragments][streams][...]``."""
    inputs: Operand
    """The left factor, in `shared`."""
    shared: tirx.Buffer


class WarpWriter(TileWriter, Generic[Stream]):
    """Writes the function that computes a product by a packed weight."""

    def __init__(
        self, source: Contraction, side: Side, tiling: SparseTiling, by: Registers, machine: Gpu,
        weights: te.Tensor | None,
    ) -> None:  # fmt: skip
        """side: the left factor. weights: what those of each output add up to, where the left factor has zero
        points."""
        super().__init__(source, (side, side), tiling, machine)
        self.side, self.points, self.by, self.weights = side, tiling, by, weights

    @abstractmethod
    def inputs(self, corner: Corner, shared: tirx.Buffer, thread: Expr, threads: int) -> tuple[Operand, Transport]:
        """The left factor, from a corner on, and its way to shared memory."""

    @abstractmethod
    def stream(self, group: Expr, lane: Expr) -> Stream:
        """The weights of a group of outputs."""

    @abstractmethod
    def step(self, warp: Warp[Stream]) -> Step:
        """What a warp does in a step; allocates what that needs."""

    def block(self, batch: Sequence[Expr], row: Expr, column: Expr, thread: Expr, threads: int) -> None:
        tiling, by, machine, loops = self.points, self.by, self.machine, self.loops
        size = tiling.shared_bytes(by)
        shared = T.alloc_buffer((size // WORD_BYTES,), WORD, scope=shared_scope(size, machine))
        inputs, way = self.inputs(Corner(batch, row, tiling.rows), shared, thread, threads)
        warp, lane = loops.split(thread, machine.warp)
        down, across = loops.split(warp, tiling.warps_across)
        first_row, first_column = T.Bind(down * tiling.warp_rows), T.Bind(across * tiling.warp_columns)
        at = WarpTile(batch, T.Bind(row + first_row), T.Bind(column + first_column), loops.const(0), warp, lane)
        group = T.Bind(tirx.floordiv(at.column, by.columns))
        streams = [self.stream(group + j, lane) for j in range(tiling.groups(by))]
        fragments = tiling.warp_rows // by.rows
        sums = T.alloc_buffer((fragments * len(streams) * by.sums,), by.accumulator, scope="local")
        with unrolled(fragments * len(streams) * by.sums) as i:
            T.buffer_store(sums, tirx.const(0, by.accumulator), [i])
        step = self.step(Warp(lane, first_row, fragments, streams, sums, inputs, shared))
        pipeline = Pipeline(machine, self.steps, tiling.stages, [[way]], loops)
        pipeline.begin()
        pipeline.run(step)
        if not tiling.direct:
            pipeline.finish()
        if self.weights is not None:
            elements = Elements(leaves(self.buffers))
            ZeroPoints(self.side, self.buffers[self.weights], elements, loops).apply(sums, tiling, by, at)
        results = Results(self.source, tiling, by, self.buffers, self.outputs, loops, machine.sector_bytes)
        results.store(sums, shared, at, machine.warp)
