"""Softmax of the scores in a warp's registers, as far as the keys are known.

Each query has the largest of its scores so far, and the sum of exponentials relative to it; what was summed before is
scaled when a larger one comes (online softmax, Milakov and Gimelshein, 2018; FlashAttention-2, Dao, 2023). Lanes that
share a query exchange the largest at each step, and their parts of the sum once, in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower import functions
from dsc.targets.gpu.launch import Group
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix_attention.chain import Chain
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops

SINGLE = "float32"
LOG2_E = 1 / math.log(2)


class Sums:
    """Matrices of sums of a warp: some down, one below the other along queries, and some across."""

    def __init__(self, chain: Chain, down: int, across: int) -> None:
        """Allocates them in the current frame."""
        self.chain, self.down, self.across = chain, down, across
        self.registers: tirx.Buffer = T.alloc_buffer((down * across * chain.fragments.sums,), SINGLE, scope="local")

    def clear(self) -> None:
        """Sets all to 0."""
        with unrolled(self.down * self.across * self.chain.fragments.sums) as i:
            T.buffer_store(self.registers, tirx.const(0, SINGLE), [i])

    def first(self, down: Expr, across: Expr) -> Expr:
        """The first register of a matrix."""
        return (down * self.across + across) * self.chain.fragments.sums

    def update(self, down: Expr, slot: int, change: Callable[[Expr], Expr]) -> None:
        """Changes all that a lane has of one of its queries."""
        with unrolled(self.across) as j:
            for register in self.of(slot):
                place = self.first(down, j) + register
                T.buffer_store(self.registers, change(self.registers[place]), [place])

    def of(self, slot: int) -> Iterator[int]:
        """The registers of a matrix that belong to one of a lane's lines."""
        return (register for register, each in enumerate(self.chain.slots) if each == slot)


class Softmax:
    """What a lane knows of its queries."""

    def __init__(self, chain: Chain, down: int, thread: Expr, machine: Gpu, loops: Loops) -> None:
        """Allocates it, as it is before the first key. thread: the index in its block."""
        self.slots = max(chain.slots) + 1
        self.largest, self.sum, self.scale = (
            T.alloc_buffer((down * self.slots,), SINGLE, scope="local") for _ in range(3)
        )
        self.one: tirx.Buffer = T.alloc_buffer((1,), SINGLE, scope="local")
        """A number that lanes put together."""
        threads, apart = chain.sharers
        self.group = Group(machine, threads, thread, loops, apart)
        with unrolled(down * self.slots) as i:
            T.buffer_store(self.largest, tirx.min_value(SINGLE), [i])
            T.buffer_store(self.sum, tirx.const(0, SINGLE), [i])

    def absorb(self, scores: Sums, results: Sums) -> None:
        """Makes scores weights relative to the largest so far, and scales the sums and the results to it."""
        with unrolled(scores.down) as down:
            for slot in range(self.slots):
                self._absorb(scores, results, down, slot)

    def _absorb(self, scores: Sums, results: Sums, down: Expr, slot: int) -> None:
        row, one = down * self.slots + slot, self.one
        T.buffer_store(one, self.largest[row], [0])
        with unrolled(scores.across) as j:
            for register in scores.of(slot):
                T.buffer_store(one, tirx.max(one[0], scores.registers[scores.first(down, j) + register]), [0])
        self.group.reduce(one, tirx.max)
        T.buffer_store(self.scale, _exp(self.largest[row] - one[0]), [row])
        T.buffer_store(self.largest, one[0], [row])
        T.buffer_store(one, tirx.const(0, SINGLE), [0])
        scores.update(down, slot, lambda score: _exp(score - self.largest[row]))
        with unrolled(scores.across) as j:
            for register in scores.of(slot):
                T.buffer_store(one, one[0] + scores.registers[scores.first(down, j) + register], [0])
        T.buffer_store(self.sum, self.sum[row] * self.scale[row] + one[0], [row])
        results.update(down, slot, lambda result: result * self.scale[row])

    def finish(self, results: Sums, value: Callable[[Expr, Expr], Expr]) -> None:
        """Makes the results what `value` does of each and of the sum of its query's weights."""
        with unrolled(results.down) as down:
            for slot in range(self.slots):
                T.buffer_store(self.one, self.sum[down * self.slots + slot], [0])
                self.group.reduce(self.one, lambda a, b: a + b)
                results.update(down, slot, lambda result: value(result, self.one[0]))


def _exp(x: Expr) -> Expr:
    """e^x, for what is not positive: by the machine's 2^x. The error of x / log(2), half a unit in its last place, is
    one of x / 2^24 in the result, and far below that of the type to which weights are rounded."""
    return functions.exp2(x * tirx.const(LOG2_E, SINGLE))
