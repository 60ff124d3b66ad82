"""What the parts of a matrix product's code share: sizes in tiles, parameters, and how elements of them are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv
from dsc.targets.cpu.gemm.product import Product, same_dims, same_place
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.inline import Leaf, is_one_of
from dsc.targets.kernel import ArrayType
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, flat

Packed: TypeAlias = "Mapping[int, Sequence[ArrayType]]"
"""Of each input that is given rearranged, by position: the arrays that it is given as."""


@dataclass(frozen=True)
class Task:
    """Rows that are computed together."""

    batch: Expr
    at: list[Expr]
    """Coordinates of the batch."""
    first: Expr
    """Row tile."""
    count: Dim
    """Row tiles."""


@dataclass(frozen=True)
class Place:
    """Where a tile is."""

    task: Task
    tile: Expr
    """Within the task."""
    panel: Expr

    @property
    def row_tile(self) -> Expr:
        """Of all row tiles."""
        return self.task.first + self.tile


class Frame:
    """The function that computes a product, with its parameters declared."""

    def __init__(self, source: Product, tiling: Tiling, instruction: MultiplyAdd, packed: Packed) -> None:
        """Declares the parameters at the top of the open function."""
        self.source, self.tiling, self.instruction = source, tiling, instruction
        self.loops = Loops.over(source.params)
        self.steps = ceildiv(source.k, instruction.k)
        """Of the reduction."""
        self.row_tiles = ceildiv(source.m, tiling.rows)
        self.panels = ceildiv(source.n, tiling.columns)
        self.buffers: dict[te.Tensor, tirx.Buffer] = {}
        self.packed: dict[int, list[tirx.Buffer]] = {}
        """The arrays of inputs that are given rearranged, by position."""
        for position, tensor in enumerate(source.params):
            if position in packed:
                self._declare_packed(tensor, position, packed[position])
            else:
                self.buffers[tensor] = argument(f"in{position}", tensor.shape, tensor.dtype)
        for scalar in source.scalars:
            T.arg(scalar.name, scalar)
        outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(source.outputs)]
        self.flat = {tensor: flat(self.buffers[tensor]) for tensor in self._shaped_as_product()}
        """Parameters that are read where the outputs are written, or row by row, as long arrays."""
        self.outputs = [flat(out) for out in outputs]
        self.loops.assume(source.assumed)

    @property
    def one_tile(self) -> bool:
        """Whether a task has one tile of rows, so that nothing of `b` is read twice."""
        tiles = self.tiling.block if self.tiling.by_rows else self.row_tiles
        return isinstance(tiles, int) and tiles == 1

    def _declare_packed(self, weight: te.Tensor, position: int, arrays: Sequence[ArrayType]) -> None:
        self.packed[position] = [argument(f"in{position}_{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
        self.buffers[weight], *_ = self.packed[position]
        if self.source.sums is not None:
            *_, self.buffers[self.source.sums] = self.packed[position]

    def _shaped_as_product(self) -> list[te.Tensor]:
        shape = self.source.shape
        same = [t for t in self.source.params if len(t.shape) == len(shape) and same_dims(t.shape, shape)]
        return [*same, self.source.a] if self.source.plain_a and not is_one_of(self.source.a, same) else same

    def leaves(self, at: list[Expr] | None = None, position: Expr | None = None) -> dict[te.Tensor, Leaf]:
        """Loads of the inputs; those at the element that is being computed by its `position` in memory."""
        shape = self.source.shape

        def leaf(tensor: te.Tensor) -> Leaf:
            def load(indices: Sequence[Expr]) -> Expr:
                if at is not None and tensor in self.flat and same_place(indices, at, shape):
                    return self.flat[tensor][position]
                return self.buffers[tensor][tuple(indices)]

            return load

        given = [*self.source.params, *([] if self.source.sums is None else [self.source.sums])]
        return {tensor: leaf(tensor) for tensor in given}

    def coordinates(self, row: Expr) -> list[Expr]:
        """Of a row; in memory where dims are symbolic: TVM's simplifier sees through variables, and takes seconds to
        divide what it sees.
        """
        if all(isinstance(size, int) for size in self.source.rows[1:]):
            return self.loops.unravel(row, self.source.rows)
        places = T.alloc_buffer((len(self.source.rows),), self.loops.dtype, scope="local")
        first = self.loops.const(0)
        T.buffer_store(places, row, [first])
        for axis in reversed(range(1, len(self.source.rows))):
            size = self.loops.const(self.source.rows[axis])
            T.buffer_store(places, tirx.floormod(places[first], size), [axis])
            T.buffer_store(places, tirx.floordiv(places[first], size), [first])
        return [places[axis] for axis in range(len(self.source.rows))]

    def widths(self, panel: Expr) -> list[tuple[Expr | None, Dim]]:
        """The numbers of columns that panels have, each with the condition that `panel` has so many."""
        n, columns = self.source.n, self.tiling.columns
        if isinstance(n, int) and n % columns == 0:
            return [(None, columns)]
        last = n - (self.panels - 1) * columns
        if self.panels == 1:
            return [(None, last)]
        end = self.loops.const(self.panels - 1)
        return [(panel < end, columns), (panel == end, last)]
