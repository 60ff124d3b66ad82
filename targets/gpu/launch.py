"""Launches: loops over blocks and threads around the code of one thread, and what threads of a block do together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv
from dsc.targets.gpu.machine import Gpu
from dsc.targets.tir.loops import Loops, when

ALL_LANES = 0xFFFFFFFF
DYNAMIC = "shared.dyn"
"""TVM's name of shared memory that a launch asks for; its runtime lets the kernel have as much. A kernel has one array
of it."""


@contextmanager
def launch(blocks: Dim, threads: int, loops: Loops) -> Iterator[tuple[Expr, Expr]]:
    """A kernel: the code of one thread follows. Gives the indices of its block, and of it in its block.

    There is one block at least: a launch of none is an error, so code of a size that may be 0 asks for that.
    """
    count = loops.const(max(1, blocks)) if isinstance(blocks, int) else tirx.max(blocks, loops.const(1))
    zero, width = loops.const(0), loops.const(threads)
    with T.thread_binding(zero, count, "blockIdx.x") as block, T.thread_binding(zero, width, "threadIdx.x") as thread:
        yield block, thread


def shared_scope(size: int, machine: Gpu) -> str:
    """Where an array of so many bytes lies that a block shares: its launch asks for what a block has not by itself."""
    return "shared" if size <= machine.shared_bytes else DYNAMIC


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
    """Threads of a block that reduce together, as many as a power of two: neighbours, or every `apart`-th thread, so
    that neighbours work on neighbouring rows.

    Groups of `threads * apart` up to a warp lie within one; larger ones are the whole block.
    """

    def __init__(self, machine: Gpu, threads: int, thread: Expr, loops: Loops, apart: int = 1) -> None:
        """`thread`: the index in its block of the thread whose code is written."""
        self.threads, self.apart = threads, apart
        self._warp, self._thread, self._loops = machine.warp, thread, loops
        self.lane = tirx.floormod(self._over(apart), loops.const(threads))
        """Index in the group."""

    @property
    def row(self) -> Expr:
        """Index of the group among those of the block."""
        if self.apart == 1:
            return self._over(self.threads)
        inside = tirx.floormod(self._thread, self._loops.const(self.apart))
        return self._over(self.threads * self.apart) * self.apart + inside

    @property
    def is_first(self) -> Expr:
        """Whether this thread is the first of the group."""
        return tirx.EQ(self.lane, self._loops.const(0))

    def reduce(self, totals: tirx.Buffer, combine: Callable[[Expr, Expr], Expr]) -> None:
        """Puts what the threads have in each of `totals`, registers, together; all have the results there."""
        count = int(totals.shape[0])
        for i in range(count):
            self._in_warp(totals, i, combine, min(self.threads, self._warp // self.apart))
        warps, const = self.threads * self.apart // self._warp, self._loops.const
        if warps <= 1:
            return
        parts = T.alloc_buffer((warps * self.apart * count,), _word(totals), scope="shared")
        inside, place = tirx.floormod(self._thread, const(self._warp)), tirx.floormod(self._thread, const(self.apart))
        with when(inside < const(self.apart)):
            first = (self._over(self._warp) * self.apart + inside) * count
            for i in range(count):
                T.buffer_store(parts, _as(parts, totals[i]), [first + i])
        synchronize()
        for i in range(count):
            T.buffer_store(totals, _as(totals, parts[place * count + i]), [i])
            for other in range(1, warps):
                part = _as(totals, parts[(other * self.apart + place) * count + i])
                T.buffer_store(totals, combine(totals[i], part), [i])

    def _over(self, count: int) -> Expr:
        return tirx.floordiv(self._thread, self._loops.const(count))

    def _in_warp(self, totals: tirx.Buffer, i: int, combine: Callable[[Expr, Expr], Expr], count: int) -> None:
        """One of them among `count` threads of the warp, by exchanging registers."""
        step = count // 2
        other = T.alloc_buffer((1,), totals.dtype, scope="local")  # no expression: in a choice, some would not exchange
        while step:
            mask, distance = tirx.const(ALL_LANES, "uint32"), step * self.apart
            T.buffer_store(other, T.tvm_warp_shuffle_xor(mask, totals[i], distance, self._warp, self._warp), [0])
            T.buffer_store(totals, combine(totals[i], other[0]), [i])
            step //= 2


def _word(values: tirx.Buffer) -> str:
    """The type of shared memory for `values`: one for all of 32 bits, so that one piece of it does for the float and
    then the integer of a reduction. (Reuse by another type is not possible on all targets.)"""
    return "float32" if tvm_ffi.dtype(str(values.dtype)).bits == 32 else str(values.dtype)


def _as(buffer: tirx.Buffer, value: Expr) -> Expr:
    """The bits of `value` in the type of a buffer."""
    dtype = str(buffer.dtype)
    return value if str(value.expr_ty()) == dtype else tirx.reinterpret(dtype, value)
