"""Elements of a factor, from memory into registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, product
from dsc.lower.floats import condition
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.loading import Loading
from dsc.targets.gpu.elements import Elements
from dsc.targets.tir.loops import Loops, flat, when, zeros


@dataclass(frozen=True, eq=False)
class Fetch:
    """Loads what belongs to one tile of rows (or columns). Those beyond the edge are the last ones again; what is
    beyond the depth is 0."""

    factor: Factor
    loading: Loading
    buffers: Mapping[te.Tensor, tirx.Buffer]
    """The parameters."""
    loops: Loops
    batch: list[Expr]
    """Indices along the batch."""
    first: Expr
    """The first row of the tile."""
    width: int
    """Of the tile."""
    whole_depth: bool
    """Whether all steps are full."""

    def __call__(self, across: Expr, k: Expr, registers: tirx.Buffer, start: Expr) -> None:
        """Neighbours in memory, as many as `loading` says, into registers from `start` on: those from row `across` of
        the tile and depth `k` on."""
        side = self._row(across)
        access, span = self.factor.access, self.loops.span(start, self.loading.vector)
        if access is None:
            T.buffer_store(registers, self._computed(side, k), [start])
            return
        dtype, vector = str(registers.dtype), self.loading.vector
        inside = self._is_inside(access, side, k)
        if inside is not None:
            T.buffer_store(registers, zeros(vector, dtype), [span])
        with when(inside):
            place = self.loops.span(T.Bind(self._position(access, side, k)), vector)
            value = flat(self.buffers[access.memory])[place]
            T.buffer_store(registers, value.astype(dtype if vector == 1 else f"{dtype}x{vector}"), [span])

    def _row(self, across: Expr) -> Expr:
        count = self._count(self.factor.side_axes)
        if isinstance(count, int) and count % self.width == 0:
            return T.Bind(self.first + across)
        last = self.loops.const(count) - (1 if self.loading.by_depth else self.loading.vector)
        return T.Bind(tirx.min(self.first + across, last))

    def _position(self, access: Access, side: Expr, k: Expr) -> Expr:
        """Of an element in memory."""
        found = access.start + self.loops.const(0)
        for index, step in zip(self.batch, access.steps, strict=False):
            found = found + index * step
        rows, depth = self.factor.side_axes, self.factor.depth_axes
        return found + access.offset(rows, side, self.loops) + access.offset(depth, k, self.loops)

    def _is_inside(self, access: Access, side: Expr, k: Expr) -> Expr | None:
        """Whether an element is in memory; None where all are."""
        conditions = [] if self.whole_depth else [k < self.loops.const(self._count(self.factor.depth_axes))]
        if access.inside is not None:
            conditions.append(access.is_inside([*self.batch, *self.factor.place(side, k, self.loops)]))
        return tirx.all(*conditions) if conditions else None

    def _computed(self, side: Expr, k: Expr) -> Expr:
        """An element that is more than a load."""
        depth = self.loops.const(self._count(self.factor.depth_axes))
        inside = k if self.whole_depth else T.Bind(tirx.min(k, depth - 1))
        at = [*self.batch, *self.factor.place(side, inside, self.loops)]
        value = Elements(leaves(self.buffers)).at(self.factor.tensor, at)
        if self.whole_depth:
            return value
        return tirx.Select(condition(k < depth), value, tirx.const(0, str(value.expr_ty())))

    def _count(self, axes: range) -> Dim:
        return product(self.factor.sizes[axis] for axis in axes)
