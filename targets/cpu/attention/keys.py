"""Which keys a task goes through: all of them, or the runs of blocks that a mask leaves."""

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


class Runs:
    """Blocks side by side are one run, so that what padding, a triangle or a window leaves is a single loop."""

    def __init__(self, loops: Loops, count: Dim, size: int) -> None:
        """Allocates what tells the runs in the current frame. count: of all keys; size: of a block."""
        self._loops, self._count, self._size = loops, count, size
        self._blocks = ceildiv(count, size)
        self._begins, self._ends = (T.alloc_buffer((self._blocks,), loops.dtype) for _ in range(2))
        self._found = T.alloc_buffer((1,), loops.dtype)

    def find(self, wanted: Callable[[Expr], Expr]) -> None:
        """Collects the blocks, by number, of which `wanted` is true."""
        begins, ends, found = self._begins, self._ends, self._found
        one = self._loops.const(1)
        following = T.alloc_buffer((1,), self._loops.dtype)
        T.buffer_store(found, self._loops.const(0), [0])
        T.buffer_store(following, self._loops.const(-1), [0])
        with self._loops.each(self._blocks) as block, when(wanted(block)):
            with when(tirx.NE(following[0], block)):
                T.buffer_store(begins, block * self._size, [found[0]])
                T.buffer_store(found, found[0] + one, [0])
            end = tirx.min((block + one) * self._size, self._loops.const(self._count))
            T.buffer_store(ends, end, [found[0] - one])
            T.buffer_store(following, block + one, [0])

    @contextmanager
    def each(self, together: int = 1) -> Iterator[Expr]:
        """A loop in a loop over the runs; what is together lies in one block."""
        with self._each_run() as (begin, count):
            first = begin if together == 1 else T.Bind(begin // together)
            with self._loops.each(count if together == 1 else T.Bind(ceildiv(count, together))) as step:
                yield first + step

    @contextmanager
    def tiles(self, keys: int) -> Iterator[Expr]:
        """A loop in a loop over the runs; tiles divide blocks, but for the last of all."""
        with self._each_run() as (begin, count), self._loops.each(T.Bind(ceildiv(count, keys))) as tile:
            yield begin + tile * keys

    @contextmanager
    def _each_run(self) -> Iterator[tuple[Expr, Expr]]:
        """The first key, and how many there are."""
        with self._loops.each(T.Bind(self._found[0])) as run:
            begin = T.Bind(self._begins[run])
            yield begin, T.Bind(self._ends[run] - begin)
