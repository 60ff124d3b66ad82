"""Loads of one operand into registers: neighbours at once, where memory has them as vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import condition
from dsc.targets.cpu.inline import Leaf, is_one_of
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.tile import unrolled
from dsc.targets.gpu.vector_product.neighbours import Neighbours, reads
from dsc.targets.tir.loops import Loops, flat

Place: TypeAlias = "tuple[Sequence[Expr], Sequence[Expr]]"
"""Indices of a sum, and of one of its terms."""


class Operand:
    """One factor of the terms of a sum."""

    def __init__(
        self, stage: te.ComputeOp, part: Expr, memory: Mapping[te.Tensor, tirx.Buffer], count: int, loops: Loops
    ) -> None:
        """Allocates `count` registers in the current frame. memory: the tensors that it may read."""
        self._stage, self._part, self._memory, self._loops = stage, part, memory, loops
        self._leaves: dict[te.Tensor, Leaf] = {tensor: _load(buffer) for tensor, buffer in memory.items()}
        self.registers: tirx.Buffer = T.alloc_buffer((count,), str(part.expr_ty()), scope="local")

    def load(
        self, first: Expr, count: int, beside: Neighbours, place: Callable[[Expr], Place], inside: Expr | None
    ) -> None:
        """The elements at ``place(0) .. place(count - 1)`` into registers from `first` on: zeros where they are not
        `inside`. They are neighbours, of which as many may be loaded at once, if there are several."""
        loaded: dict[te.Tensor, tirx.Buffer] = {}
        if count > 1:
            start = place(self._loops.const(0))
            found = reads(self._stage, self._part, list(self._memory), *start) or []
            loaded = {t: self._at_once(t, indices, count) for t, indices in found if is_one_of(t, beside.tensors)}
        with unrolled(count) as v:
            own = {tensor: _register(registers, v) for tensor, registers in loaded.items()}
            value = Elements({**self._leaves, **own}).term(self._stage, self._part, *place(v))
            if inside is not None:
                value = tirx.Select(condition(inside), value, tirx.const(0, str(value.expr_ty())))
            T.buffer_store(self.registers, value, [first + v])

    def _at_once(self, tensor: te.Tensor, indices: Sequence[Expr], count: int) -> tirx.Buffer:
        buffer = self._memory[tensor]
        registers: tirx.Buffer = T.alloc_buffer((count,), tensor.dtype, scope="local")
        start: Expr = self._loops.const(0)
        for index, size in zip(indices, tensor.shape, strict=True):
            start = start * size + index
        T.buffer_store(registers, flat(buffer)[self._loops.span(start, count)], [Loops().span(0, count)])
        return registers


def _load(buffer: tirx.Buffer) -> Leaf:
    return lambda indices: buffer[tuple(indices)]


def _register(registers: tirx.Buffer, place: Expr) -> Leaf:
    return lambda _: registers[place]
