"""The code of a product of rows of bytes by a weight of few bits: that of `cpu.gemm`, whose sums of integers become
floats group by group."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import f32
from dsc.targets.cpu.gemm.code import Multiply, Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Task
from dsc.targets.cpu.gemm.operands import Panel, Row
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.cpu.quantized_rows.rows import QuantizedOperands, RowOfBytes
from dsc.targets.cpu.tile import RegisterTile, Tile, as_elements
from dsc.targets.cpu.weight_only.weights import Weights
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import function, pieces, spread


def write(
    problem: ByteProduct, tiling: Tiling, floats: MultiplyAdd, bytes_: MultiplyAdd, packed: Packed
) -> tirx.PrimFunc:
    """The function that computes `problem`.

    tiling: of rows of activations. floats, bytes_: the instructions for scaled sums and for sums.
    """
    with function() as made:
        _Quantized(problem, Frame(problem.weight.product, tiling, floats, packed), bytes_).tasks()
    return made.get()


class _Quantized(Writer):
    def __init__(self, problem: ByteProduct, frame: Frame, bytes_: MultiplyAdd) -> None:
        super().__init__(frame)
        self.problem, self.bytes = problem, bytes_
        self.operands = QuantizedOperands(problem, frame, bytes_)

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Gets the bytes of a panel, and multiplies by them."""
        weights, of_panel = Weights(self.problem.weight, self.frame, panel), self._panel_of_bytes(panel)
        return lambda tile, rows: self._groups(tile, rows, of_panel, weights)

    def _panel_of_bytes(self, panel: Expr) -> Panel:
        """As it is packed; of 4 bits, in a buffer of the task's own."""
        stored, *_ = self.frame.packed[self.problem.weight.integers]
        if self.problem.weight.encoding.bits == 8:
            return lambda step, places: stored[panel, step, places]
        rows, width = (int(size) for size in stored.shape[1:])
        scratch = T.alloc_buffer((2 * rows, width), "int8")
        with self.loops.each(rows) as row:
            for start, count in pieces(width, self.tiling.lanes * self.bytes.k):
                places = self.loops.span(start, count)
                for half, value in enumerate(_halves(T.Bind(stored[panel, row, places]))):
                    T.buffer_store(scratch, value, [2 * row + half, places])
        return lambda step, places: scratch[step, places]

    def _groups(self, tile: Tile, rows: Sequence[Row], panel: Panel, weights: Weights) -> None:
        """The sums of all groups, in floats."""
        problem = self.problem
        assert isinstance(tile, RegisterTile)  # of a row and vectors, as those of floats are
        whole, left = divmod(problem.weight.depth, problem.size)
        with self.loops.each(whole) as group:
            self._group(tile, rows, panel, weights, group, problem.size)
        if left:
            self._group(tile, rows, panel, weights, self.loops.const(whole), left)
        if problem.weight.groups == 1:
            scales = weights.scales(self.loops.const(0))
            for i in range(tile.rows):
                for v, scale in enumerate(scales):
                    tile.put(i, v, tile[i, v] * scale)

    def _group(
        self, tile: RegisterTile, rows: Sequence[Row], panel: Panel, weights: Weights, group: Expr, size: int
    ) -> None:  # fmt: skip
        """Adds the sums of a group of activations, times their steps, and times scales of the weight if these vary."""
        problem, each = self.problem, self.bytes.k
        part = RegisterTile(self.bytes, len(rows), self.tiling.columns, self.tiling.lanes)
        self._begin(part, weights, group)
        self.steps(part, rows, panel, group * (problem.size // each), -(-size // each))
        of_columns = problem.weight.groups == 1
        shared = problem.groups if of_columns else problem.weight.size // problem.size
        of_weight = tirx.floordiv(group, self.loops.const(shared))
        scales = None if of_columns else weights.scales(of_weight)
        zeros = weights.zeros(of_weight)
        for i in range(tile.rows):
            row = rows[i * problem.bytes]
            assert isinstance(row, RowOfBytes)
            step = T.Bind(row.step_of(group))
            for v, (_, lanes) in enumerate(tile.vectors):
                found = self._together(part, i, v)
                if zeros is not None:
                    found = found - spread(row.sum_of(group), lanes) * zeros[v]
                tile.multiply_add(i, v, spread(step, lanes), found if scales is None else found * scales[v])

    def _begin(self, part: RegisterTile, weights: Weights, group: Expr) -> None:
        """Sums begin with what makes up for bytes that are more than they stand for."""
        _, *negated = self.frame.packed[self.problem.weight.integers]
        if not negated:
            part.clear()
            return
        part.begin([T.Bind(negated[0][weights.panel, group, weights.span(v)]) for v in range(len(part.vectors))])

    def _together(self, part: RegisterTile, row: int, vector: int) -> Expr:
        """The sums of a row of activations, as floats: of its highest bytes, and of those below."""
        count, lanes = self.problem.bytes, part.vectors[vector][1]
        high, *below = (as_elements(part[row * count + i, vector], "float32") for i in range(count))
        for low in below:
            high = high * spread(f32(256), lanes) + low
        return high


def _halves(both: Expr) -> tuple[Expr, Expr]:
    """The signed integers in the low and in the high half of each byte."""

    def number(value: int) -> Expr:
        return spread(tirx.const(value, "int8"), both.ty.dtype.lanes)

    low = tirx.bitwise_xor(tirx.bitwise_and(both, number(15)), number(8)) - number(8)
    return low, tirx.shift_right(both, number(4))
