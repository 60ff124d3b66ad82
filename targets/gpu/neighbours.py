"""Inputs of which a thread needs neighbours in memory: loaded at once, and read from registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import sym, te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, dims, same
from dsc.lower.tensors import ravel
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.access import Access, linear, ranges, replaced
from dsc.targets.gpu.axes import Axis
from dsc.targets.tir.loops import Loops, flat


@dataclass(frozen=True, eq=False)
class Read:
    """An input that is read, each element at one place."""

    tensor: te.Tensor
    indices: tuple[Expr, ...]
    """In terms of the variables of some axes."""
    access: Access | None
    """By the indices along these axes; None where elements do not lie at even distances."""

    @staticmethod
    def of(tensor: te.Tensor, indices: Sequence[Expr], axes: Sequence[Axis]) -> Read:
        """What is read of an input at `indices`, in terms of the variables of `axes`."""
        return Read(tensor, tuple(indices), placed(tensor, dims(tensor.shape), indices, axes))


def distinct(reads: Sequence[Read]) -> list[Read]:
    """Each read once."""
    found: list[Read] = []
    for read in reads:
        if not any(read.tensor is other.tensor and all(map(same, read.indices, other.indices)) for other in found):
            found.append(read)
    return found


def placed(tensor: te.Tensor, shape: Sequence[Dim], indices: Sequence[Expr], axes: Sequence[Axis]) -> Access | None:
    """Where the elements of a tensor in memory lie, by the indices along `axes`; None where not at even distances."""
    variables, sizes = tuple(axis.var for axis in axes), tuple(axis.size for axis in axes)
    known = ranges(variables, sizes)
    line = linear(ravel([known.simplify(index) for index in indices], shape), variables)
    return None if line is None else Access(tensor, variables, sizes, *line, None)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What a thread has loaded of an input."""

    read: Read
    registers: tirx.Buffer

    @staticmethod
    def load(read: Read, count: int, memory: tirx.Buffer, at: Sequence[Expr], loops: Loops) -> Neighbours:
        """`count` elements from the place `at` on, by the indices along the axes of `read`."""
        assert read.access is not None
        registers: tirx.Buffer = T.alloc_buffer((count,), read.tensor.dtype, scope="local")
        span = loops.span(T.Bind(read.access.position(at)), count)
        T.buffer_store(registers, flat(memory)[span], [Loops().span(0, count)])
        return Neighbours(read, registers)

    def is_at(self, indices: Sequence[Expr], at: Sequence[Expr], known: sym.Analyzer) -> bool:
        """Whether `indices` are those of the element at the place `at`."""
        assert self.read.access is not None
        own = [known.simplify(replaced(index, self.read.access.variables, at)) for index in self.read.indices]
        return all(same(known.simplify(index), wanted) for index, wanted in zip(indices, own, strict=True))


def from_registers(
    found: Sequence[Neighbours],
    memory: Mapping[te.Tensor, tirx.Buffer],
    at: Sequence[Expr],
    which: Expr | int,
    known: sym.Analyzer,
) -> dict[te.Tensor, Leaf]:
    """Loads of the tensors in `memory`; those of the place `at` are of the registers that are `found`, element `which`
    of each. `known`: the ranges of the variables."""

    def leaf(tensor: te.Tensor) -> Leaf:
        own = [each for each in found if each.read.tensor is tensor]

        def load(indices: Sequence[Expr]) -> Expr:
            for each in own:
                if each.is_at(indices, at, known):
                    return each.registers[which]
            return memory[tensor][tuple(indices)]

        return load

    return {tensor: leaf(tensor) for tensor in memory}
