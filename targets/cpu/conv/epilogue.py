"""What follows the convolution inside its region, as one scalar expression of the convolution's result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Call, Expr, Range

from dsc.targets.cpu.conv.emit import Dim, Stmt, index, seq

Value = Callable[[tuple[Expr, ...]], Expr]
"""The anchor's element at the given logical (n, c, h, w)."""


def inline(tensor: te.Tensor, at: Sequence[Expr], loads: Mapping[te.Tensor, Callable[[tuple[Expr, ...]], Expr]]) -> Expr:
    """The element of `tensor` at `at` in terms of `loads`, with every computed stage in between inlined.

    Raises `ValueError` where a stage is not elementwise (a reduction, or several results).
    """
    if tensor in loads:
        return loads[tensor](tuple(at))
    if not isinstance(tensor.op, te.ComputeOp) or tensor.op.reduce_axis or len(tensor.op.body) != 1:
        raise ValueError(f"{tensor.op.name} is not elementwise")
    places = {axis.var: _typed(place, axis.var) for axis, place in zip(tensor.op.axis, at, strict=True)}

    def variable(var: tirx.Var) -> Expr:
        return places.get(var, var)

    def load(call: Call) -> Expr:
        if getattr(call.op, "name", None) != "te.tensor_load":
            return call
        return inline(call.args[0], list(call.args[1:]), loads)

    def fresh(let: tirx.Let) -> tirx.Let:
        # The stage is inlined once for each vector of a tile, and a variable may be bound only once.
        again = tirx.Var(let.var.name, let.var.expr_ty())
        return tirx.Let(again, let.value, tvm_ffi.structural_map(let.body, [(tirx.Var, lambda var: again if var.same_as(let.var) else var)]))

    body: Expr = tvm_ffi.structural_map(tensor.op.body[0], [(tirx.Var, variable)])
    return tvm_ffi.structural_map(body, [(Call, load), (tirx.Let, fresh)])


def _typed(place: Expr, axis: tirx.Var) -> Expr:
    """`place` in the integer type of the axis it stands for: expressions that replace a variable must have its type."""
    dtype = str(axis.expr_ty())
    return place if str(place.expr_ty()) == dtype else place.astype(dtype)


@dataclass(frozen=True)
class Output:
    """One result of the region: NCHW, or NCHW[c] where it has five axes."""

    tensor: te.Tensor
    buffer: tirx.Buffer

    @property
    def block(self) -> int:
        """Channels that lie next to each other; 1 when plain."""
        return int(self.tensor.shape[4]) if len(self.tensor.shape) == 5 else 1

    def place(self, n: Dim, c: Expr, inner: Expr, h: Dim, w: Dim) -> tuple[Expr, ...]:
        """Where channel ``c + inner`` is stored, `c` being a multiple of the vector that `inner` walks."""
        if self.block == 1:
            return index(n), c + inner, index(h), index(w)
        return index(n), tirx.floordiv(c, self.block), index(h), index(w), tirx.floormod(c, self.block) + inner


@dataclass(frozen=True)
class Epilogue:
    """Stores results: applies the region's ops to the convolution's and writes every output."""

    anchor: te.Tensor
    """Stands for the convolution's result, [N, OC, OH, OW]."""
    outputs: tuple[Output, ...]
    inputs: Mapping[te.Tensor, tirx.Buffer]
    bias: tirx.Buffer | float | None

    @property
    def block(self) -> int:
        """The smallest block of the outputs: what a store may write at once."""
        return min(output.block for output in self.outputs)

    def problems(self) -> str | None:
        """Why the outputs cannot be computed element by element as the anchor's elements become known, or None."""
        n, block, i, h, w = (tirx.Var(name, str(index(size).expr_ty())) for name, size in self._axes())
        seen: list[tuple[Expr, ...]] = []

        def anchor(at: tuple[Expr, ...]) -> Expr:
            seen.append(at)
            return tirx.FloatImm("float32", 0.0)

        for output in self.outputs:
            analyzer = sym.Analyzer()
            for var, (_, size) in zip((n, block, i, h, w), self._axes(), strict=True):
                # An axis of size 1 is indexed by 0.
                analyzer.bind(var, Range(0, output.block if var is i else size))
            c = block * output.block
            try:
                inline(output.tensor, output.place(n, c, i, h, w), self._loads(anchor))
            except ValueError as error:
                return str(error)
            for at in seen:
                if not all(analyzer.can_prove_equal(a, b) for a, b in zip(at, (n, c + i, h, w), strict=True)):
                    return "an op after the convolution moves elements"
            seen.clear()
        return None

    def _axes(self) -> list[tuple[str, Dim]]:
        n, c, h, w = self.anchor.shape
        return [("n", n), ("c", c), ("i", c), ("h", h), ("w", w)]

    def _loads(self, anchor: Value) -> dict[te.Tensor, Value]:
        def reader(buffer: tirx.Buffer) -> Value:
            return lambda at: tirx.BufferLoad(buffer, list(at))

        return {self.anchor: anchor, **{tensor: reader(buffer) for tensor, buffer in self.inputs.items()}}

    def store(self, n: Dim, c: Expr, lanes: int, h: Dim, w: Dim, value: Callable[[Expr], Expr]) -> Stmt:
        """Write the outputs of channels ``c .. c + lanes - 1`` at one pixel, as vectors.

        `value` gives the bare convolution of channel ``c + i``. `lanes` divides `block` and `c`, or is 1.
        """
        return seq(*[self._store(output, n, c, lanes, h, w, value) for output in self.outputs])

    def _store(
        self, output: Output, n: Dim, c: Expr, lanes: int, h: Dim, w: Dim, value: Callable[[Expr], Expr]
    ) -> Stmt:
        inner = tirx.Var("c", "int32") if lanes > 1 else index(0)
        analyzer = sym.Analyzer()
        if lanes > 1:
            analyzer.bind(inner, Range(0, lanes))

        def anchor(_: tuple[Expr, ...]) -> Expr:
            bare = value(inner)
            if self.bias is None:
                return bare
            return bare + (tirx.BufferLoad(self.bias, [c + inner]) if isinstance(self.bias, tirx.Buffer) else self.bias)

        place = output.place(n, c, inner, h, w)
        result = analyzer.simplify(inline(output.tensor, place, self._loads(anchor)))
        stored = tirx.BufferStore(output.buffer, result, [analyzer.simplify(axis) for axis in place])
        if lanes == 1:
            return stored
        return tirx.For(inner, index(0), index(lanes), tirx.ForKind.VECTORIZED, stored)
