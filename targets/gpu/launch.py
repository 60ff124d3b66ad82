"""Launches: loops over blocks and threads around the code of one thread, and what threads of a block do together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv
from dsc.targets.gpu.machine import Gpu
from dsc.targets.tir.loops import Loops, when

ALL_LANES = 0xFFFFFFFF


@contextmanager
def launch(blocks: Dim, threads: int, loops: Loops) -> Iterator[tuple[Expr, Expr]]:
    """A kernel: the code of one thread follows. Gives the indices of its block, and of it in its block.

    There is one block at least: a launch of none is an error, so code of a size that may be 0 asks for that.
    """
    count = loops.const(max(1, blocks)) if isinstance(blocks, int) else tirx.max(blocks, loops.const(1))
    zero, width = loops.const(0), loops.const(threads)
    with T.thread_binding(zero, count, "blockIdx.x") as block, T.thread_binding(zero, width, "threadIdx.x") as thread:
        yield block, thread


def synchronize() -> None:
    """Waits until all threads of the block are here, and what they wrote to shared memory can be read."""
    T.evaluate(T.tvm_storage_sync("shared"))


@contextmanager
def shared_out(length: Dim, threads: int, thread: Expr, loops: Loops) -> Iterator[Expr]:
    """A loop over one thread's part of `length` places: neighbouring threads have neighbouring ones."""
    with loops.each(ceildiv(length, threads)) as step:
        place = T.Bind(step * threads + thread)
        exact = isinstance(length, int) and length % threads == 0
        with when(None if exact else place < loops.const(length)):
            yield place


class Group:
    """Threads that reduce together: neighbours in a block, as many as a power of two."""

    def __init__(self, machine: Gpu, threads: int, thread: Expr, loops: Loops) -> None:
        """`thread`: the index in its block of the thread whose code is written. More than a warp are a whole block."""
        self.threads = threads
        self._warp, self._thread, self._loops = machine.warp, thread, loops
        self.lane = tirx.floormod(thread, loops.const(threads))
        """Index in the group."""

    @property
    def is_first(self) -> Expr:
        """Whether this thread is the first of the group."""
        return tirx.EQ(self.lane, self._loops.const(0))

    def reduce(self, total: tirx.Buffer, combine: Callable[[Expr, Expr], Expr]) -> None:
        """Puts what the threads have in `total`, a register, together; all have the result there."""
        self._among(total, combine, min(self.threads, self._warp))
        warps, const = self.threads // self._warp, self._loops.const
        if warps <= 1:
            return
        parts = T.alloc_buffer((warps,), total.dtype, scope="shared")
        with when(tirx.EQ(tirx.floormod(self._thread, const(self._warp)), const(0))):
            T.buffer_store(parts, total[0], [tirx.floordiv(self._thread, const(self._warp))])
        synchronize()
        T.buffer_store(total, parts[tirx.floormod(self._thread, const(warps))], [0])
        self._among(total, combine, warps)

    def _among(self, total: tirx.Buffer, combine: Callable[[Expr, Expr], Expr], count: int) -> None:
        """Among `count` neighbours of a warp."""
        exchange(total, combine, 1, count, self._warp)


def exchange(total: tirx.Buffer, combine: Callable[[Expr, Expr], Expr], apart: int, count: int, warp: int) -> None:
    """Puts what `count` threads of a warp, each `apart` from the next, have in `total`, a register, together; all have
    the result there. Both are powers of two."""
    other = T.alloc_buffer((1,), total.dtype, scope="local")  # no expression: in a choice, some would not exchange
    step = apart * count // 2
    while step >= apart:
        mask = tirx.const(ALL_LANES, "uint32")
        T.buffer_store(other, T.tvm_warp_shuffle_xor(mask, total[0], step, warp, warp), [0])
        T.buffer_store(total, combine(total[0], other[0]), [0])
        step //= 2
