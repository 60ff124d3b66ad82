"""Which keys a task goes through: all of them, those of a window, or the runs of blocks that a mask leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv
from dsc.targets.tir.loops import Loops, when


class Keys(Protocol):
    """Loops over the keys of a task."""

    def each(self, together: int = 1) -> AbstractContextManager[Expr]:
        """Over so many keys at a time: the number of the first, divided by `together`. Of the last of all there may be
        fewer."""
        ...

    def tiles(self, keys: int) -> AbstractContextManager[Expr]:
        """Over tiles of so many keys: the first of each. Of the last of all there may be fewer."""
        ...


@dataclass(frozen=True)
class AllKeys:
    """Where nothing is skipped."""

    loops: Loops
    count: Dim

    @contextmanager
    def each(self, together: int = 1) -> Iterator[Expr]:
        """One loop."""
        with self.loops.each(self.count if together == 1 else ceildiv(self.count, together)) as step:
            yield step

    @contextmanager
    def tiles(self, keys: int) -> Iterator[Expr]:
        """One loop."""
        with self.loops.each(ceildiv(self.count, keys)) as tile:
            yield tile * keys


@dataclass(frozen=True)
class Span:
    """Keys side by side."""

    loops: Loops
    begin: Expr
    end: Expr
    """The first one behind."""

    @contextmanager
    def each(self, together: int = 1) -> Iterator[Expr]:
        """One loop; what is together lies within the span, but for the last of all."""
        first = self.begin if together == 1 else T.Bind(self.begin // together)
        count = self.end - self.begin
        with self.loops.each(T.Bind(count if together == 1 else ceildiv(count, together))) as step:
            yield first + step

    @contextmanager
    def tiles(self, keys: int) -> Iterator[Expr]:
        """One loop; tiles divide the span, but for the last of all."""
        with self.loops.each(T.Bind(ceildiv(self.end - self.begin, keys))) as tile:
            yield self.begin + tile * keys


@dataclass(frozen=True)
class Blocks:
    """Blocks of keys, of which each block of queries is told those that it may need: all, or those in its window."""

    loops: Loops
    keys: Dim
    size: int
    """Keys in a block."""
    rows: int
    """Queries in a block of those."""
    window: int | None

    @property
    def count(self) -> Dim:
        """Of all."""
        return ceildiv(self.keys, self.size)

    def near(self, tile: Expr) -> tuple[Expr, Expr]:
        """The first block that a block of queries may need, and the first one behind, in variables."""
        zero, count = self.loops.const(0), self.loops.const(self.count)
        if self.window is None:
            return zero, count
        first = tile * self.rows
        begin = tirx.max(first - self.window, zero) // self.size
        return T.Bind(begin), T.Bind(tirx.min(ceildiv(first + (self.rows + self.window), self.size), count))

    @contextmanager
    def each(self, tile: Expr) -> Iterator[Expr]:
        """A loop over these."""
        begin, end = self.near(tile)
        with self.loops.each(self.count if self.window is None else T.Bind(end - begin)) as block:
            yield block if self.window is None else begin + block

    def span(self, tile: Expr) -> Span:
        """The keys of these."""
        begin, end = self.near(tile)
        last = tirx.min(end * self.size, self.loops.const(self.keys))
        return Span(self.loops, T.Bind(begin * self.size), T.Bind(last))


class Runs:
    """Blocks side by side are one run, so that what padding, a triangle or a window leaves is a single loop."""

    def __init__(self, blocks: Blocks) -> None:
        """Allocates what tells the runs in the current frame."""
        self._loops, self._blocks = blocks.loops, blocks
        loops = blocks.loops
        self._begins, self._ends = (T.alloc_buffer((blocks.count,), loops.dtype) for _ in range(2))
        self._found = T.alloc_buffer((1,), loops.dtype)

    def find(self, tile: Expr, wanted: Callable[[Expr], Expr]) -> None:
        """Collects the blocks near a block of queries, by number, of which `wanted` is true."""
        begins, ends, found, size = self._begins, self._ends, self._found, self._blocks.size
        one = self._loops.const(1)
        following = T.alloc_buffer((1,), self._loops.dtype)
        T.buffer_store(found, self._loops.const(0), [0])
        T.buffer_store(following, self._loops.const(-1), [0])
        with self._blocks.each(tile) as block, when(wanted(block)):
            with when(tirx.NE(following[0], block)):
                T.buffer_store(begins, block * size, [found[0]])
                T.buffer_store(found, found[0] + one, [0])
            end = tirx.min((block + one) * size, self._loops.const(self._blocks.keys))
            T.buffer_store(ends, end, [found[0] - one])
            T.buffer_store(following, block + one, [0])

    @contextmanager
    def each(self, together: int = 1) -> Iterator[Expr]:
        """A loop in a loop over the runs; what is together lies in one block."""
        with self._each_run() as run, run.each(together) as step:
            yield step

    @contextmanager
    def tiles(self, keys: int) -> Iterator[Expr]:
        """A loop in a loop over the runs; tiles divide blocks, but for the last of all."""
        with self._each_run() as run, run.tiles(keys) as tile:
            yield tile

    @contextmanager
    def _each_run(self) -> Iterator[Span]:
        with self._loops.each(T.Bind(self._found[0])) as run:
            yield Span(self._loops, T.Bind(self._begins[run]), T.Bind(self._ends[run]))
