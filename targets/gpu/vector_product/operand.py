"""The operands of a product of a few rows: what of them lies side by side in memory, and loads of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim
from dsc.lower.floats import condition
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.access import ranges, traced
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.neighbours import Neighbours, Read, from_registers
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops


@dataclass(frozen=True, eq=False)
class Operand:
    """A factor, by what it is computed of."""

    factor: Factor
    reads: tuple[Read, ...]
    """Of the inputs, by the indices of the factor; none where it is a matter of conditions what is read."""
    vector_bytes: int
    """That one load gives, at most."""

    @staticmethod
    def of(factor: Factor, memory: Sequence[te.Tensor], vector_bytes: int) -> Operand:
        """What `factor` is, computed of `memory`."""
        found = traced(factor.tensor, memory)
        axes = [Axis(variable, size) for variable, size in zip(found.variables, factor.sizes, strict=True)]
        reads = () if _chooses(found.value) else tuple(Read.of(tensor, at, axes) for tensor, at in found.reads)
        return Operand(factor, reads, vector_bytes)

    @property
    def side(self) -> tuple[Dim, ...]:
        """Sizes of the axes of its rows, or columns."""
        return tuple(self.factor.sizes[axis] for axis in self.factor.side_axes)

    def beside(self, axes: range) -> list[Read]:
        """Of what it is computed, that which lies side by side along some of its axes."""
        return [read for read in self.reads if read.access is not None and read.access.run(axes) > 1]

    def together(self, axes: range) -> int:
        """Neighbours along these axes that one load gives, of each of those; 1 if there is nothing like that."""
        return min((self._vector(read, axes) for read in self.beside(axes)), default=1)

    def element_bytes(self, axes: range) -> int:
        """Of the widest of what lies side by side."""
        return max(element_bytes(read.tensor) for read in self.beside(axes))

    def _vector(self, read: Read, axes: range) -> int:
        assert read.access is not None
        return read.access.vector(axes, self.vector_bytes // element_bytes(read.tensor))


class Registers:
    """Elements of an operand that a thread has."""

    def __init__(self, operand: Operand, count: int, memory: Mapping[te.Tensor, tirx.Buffer], loops: Loops) -> None:
        """Allocates `count` of them in the current frame. memory: the inputs."""
        self._operand, self._memory, self._loops = operand, memory, loops
        self.values: tirx.Buffer = T.alloc_buffer((count,), operand.factor.tensor.dtype, scope="local")

    def load(
        self, first: Expr, count: int, axes: range, place: Callable[[Expr], list[Expr]], inside: Expr | None
    ) -> None:
        """The elements at ``place(0) .. place(count - 1)``, which are neighbours along `axes`, from register `first`
        on; zeros where they are not `inside`. Where there are several, memory has them as vectors."""
        factor, found = self._operand.factor, list[Neighbours]()
        if count > 1:
            start, reads = place(self._loops.const(0)), self._operand.beside(axes)
            found = [Neighbours.load(read, count, self._memory[read.tensor], start, self._loops) for read in reads]
        with unrolled(count) as v:
            # variables, as only of these ranges are known: without, what a block of channels holds is not found again
            at = [T.Bind(index) for index in place(v)]
            known = ranges(at, factor.sizes)
            value = Elements(from_registers(found, self._memory, at, v, known), known).at(factor.tensor, at)
            if inside is not None:
                value = tirx.Select(condition(inside), value, tirx.const(0, str(value.expr_ty())))
            T.buffer_store(self.values, value, [first + v])


def _chooses(value: Expr) -> bool:
    """Whether a value is one or another."""
    found: list[Expr] = []

    def call(node: Call) -> None:
        if str(getattr(node.op, "name", "")).endswith("if_then_else"):
            found.append(node)

    tvm_ffi.structural_walk(value, [(Call, call), (tirx.Select, found.append)])
    return bool(found)
