"""How the threads of a block load the tile of a factor, and put it into shared memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import dims, same
from dsc.lower.stages import element_bytes
from dsc.lower.tensors import ravel
from dsc.targets.gpu.access import linear, traced
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.tiling import VECTOR, Tiling
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, when

PIECES = (32, 64, 128)
"""Bytes that neighbouring threads load of a run in depth, as much as machines move of memory at least: the fewer, the
fewer of them store to one bank."""
SEGMENTS = (1, 2, 4, 8, 16, 32)
"""Neighbours in depth that are loaded together, where nothing lies in vectors: of an image whose pixels are read in
steps of two, several taps of each fill the holes; of odd rows, longer pieces have fewer ends."""


@dataclass(frozen=True)
class Loading:
    """Which elements of a tile ``[depth][rows or columns]`` neighbouring threads load: neighbours in memory."""

    by_depth: bool
    """Whether these are neighbours in depth, not rows or columns."""
    vector: int
    """How many a thread loads at once."""
    segment: int
    """Neighbours in depth that are loaded together: as many as memory gives at once, and in shared memory, where they
    are in rows of their own, a warp's go to different banks."""

    @staticmethod
    def ways(factor: Factor, memory: Sequence[te.Tensor]) -> list[Loading]:
        """Those worth considering, for how `factor`, which is computed from `memory`, lies there."""
        size = element_bytes(memory[0] if factor.access is None else factor.access.memory)
        if factor.access is None:
            return [Loading(_is_by_depth(factor, memory), 1, PIECES[0] // size)]
        for axes, by_depth in ((factor.side_axes, False), (factor.depth_axes, True)):
            vector = factor.access.vector(axes, VECTOR)
            if vector > 1:
                return [Loading(by_depth, vector, piece // size) for piece in (PIECES if by_depth else PIECES[:1])]
        return [Loading(segment > 1, 1, segment) for segment in SEGMENTS]

    def places(self, position: np.ndarray, width: int, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """The first elements of vectors of a tile, which threads take one by one: their positions across the tile, and
        in depth. As `Loaded` has them."""
        if self.by_depth:
            segment = min(self.segment, depth)
            rest, low = np.divmod(position, segment // self.vector)
            high, across = np.divmod(rest, width)
            return across, high * segment + low * self.vector
        k, across = np.divmod(position, width // self.vector)
        return across * self.vector, k


def _is_by_depth(factor: Factor, memory: Sequence[te.Tensor]) -> bool:
    """Whether something that a factor is computed of has neighbours along the depth, and nothing along its side."""
    found = traced(factor.tensor, memory)
    lines = [linear(ravel(indices, dims(source.shape)), found.variables) for source, indices in found.reads]
    side, depth = factor.side_axes[-1], factor.depth_axes[-1]
    steps = [line[1] for line in lines if line is not None]
    return not any(same(each[side], 1) for each in steps) and any(same(each[depth], 1) for each in steps)


class Loaded:
    """The tile of one factor in shared memory, ``[stage][depth][width]``, and what a thread has loaded of the next."""

    def __init__(
        self,
        loops: Loops,
        width: int,
        stride: int,
        tiling: Tiling,
        shared: tirx.Buffer,
        loading: Loading,
        moved: Callable[[Expr], Expr],
    ) -> None:
        """stride: of its rows. moved: where what is `across` the tile is in these; neighbours stay so where vectors of
        them are loaded."""
        self.loops, self.width, self.stride, self.tiling = loops, width, stride, tiling
        self.shared, self.loading, self.vector, self.moved = shared, loading, loading.vector, moved
        self.vectors = width * tiling.depth // self.vector
        self.each = -(-self.vectors // tiling.threads)
        self.registers: tirx.Buffer = T.alloc_buffer((self.each * self.vector,), shared.dtype, scope="local")

    def row(self, half: Expr, k: Expr) -> Expr:
        """Where a row begins."""
        return (half * self.tiling.depth + k) * self.stride

    def load(self, thread: Expr, step: Expr, fetch: Callable[[Expr, Expr, tirx.Buffer, Expr], None]) -> None:
        """This thread's part of a step's tile, into registers. `fetch`: see `Fetch`."""
        with unrolled(self.each) as i, when(self._is_its(thread, i)):
            across, k = self._place(thread, i)
            fetch(across, T.Bind(step * self.tiling.depth + k), self.registers, i * self.vector)

    def store(self, thread: Expr, half: Expr) -> None:
        """The registers to shared memory."""
        with unrolled(self.each) as i, when(self._is_its(thread, i)):
            across, k = self._place(thread, i)
            if self.loading.by_depth:
                with unrolled(self.vector) as v:
                    place = self.row(half, k + v) + self.moved(across)
                    T.buffer_store(self.shared, self.registers[i * self.vector + v], [place])
            else:
                values = self.registers[self.loops.span(i * self.vector, self.vector)]
                place = self.row(half, k) + self.moved(across)
                T.buffer_store(self.shared, values, [self.loops.span(place, self.vector)])

    def _is_its(self, thread: Expr, i: Expr) -> Expr | None:
        """Whether a thread has an `i`-th vector; None where all have."""
        if self.vectors % self.tiling.threads == 0:
            return None
        return i * self.tiling.threads + thread < self.loops.const(self.vectors)

    def _place(self, thread: Expr, i: Expr) -> tuple[Expr, Expr]:
        """The first element of a thread's `i`-th vector: its position across the tile, and in depth."""
        position = i * self.tiling.threads + thread
        if self.loading.by_depth:
            segment = min(self.loading.segment, self.tiling.depth)
            rest, low = self.loops.split(position, segment // self.vector)
            high, across = self.loops.split(rest, self.width)
            return across, high * segment + low * self.vector
        k, across = self.loops.split(position, self.width // self.vector)
        return across * self.vector, k
