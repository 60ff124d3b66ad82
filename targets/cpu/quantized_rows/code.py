"""The code of a product of rows of bytes by a weight of few bits: that of `cpu.gemm`, whose sums of integers become
floats group by group."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import f32
from dsc.targets.cpu.gemm.code import Multiply, Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Place, Task
from dsc.targets.cpu.gemm.operands import Panel, Row
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.cpu.quantized_rows.rows import QuantizedOperands
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
        self.operands = self.quantized = QuantizedOperands(problem, frame, bytes_)

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Gets the bytes of a panel, and multiplies by them."""
        weights, of_panel = Weights(self.problem.weight, self.frame, panel), self._panel_of_bytes(panel)

        def multiply(tile: Tile, rows: Sequence[Row]) -> None:
            weights.each_group(lambda group, size: self._group(tile, rows, of_panel, weights, group, size))

        return multiply

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

    def _group(
        self, tile: Tile, rows: Sequence[Row], panel: Panel, weights: Weights, group: Expr, size: int
    ) -> None:  # fmt: skip
        """The sums of a group, times its scales."""
        assert isinstance(tile, RegisterTile)  # of a row and vectors, as those of floats are
        part = RegisterTile(self.bytes, len(rows), self.tiling.columns, self.tiling.lanes)
        self._begin(part, weights, group)
        each = self.bytes.k
        self.steps(part, rows, panel, group * (self.problem.weight.size // each), -(-size // each))
        scales = weights.scales(group)
        for i in range(tile.rows):
            for v in range(len(tile.vectors)):
                tile.multiply_add(i, v, self._together(part, i, v), scales[v])

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

    def finish(self, tile: Tile, place: Place) -> None:
        """Multiplies the sums of each row by its step."""
        super().finish(tile, place)
        assert isinstance(tile, RegisterTile)
        for i in range(tile.rows):
            step = T.Bind(self.quantized.step_of(place, i))
            for v, (_, lanes) in enumerate(tile.vectors):
                tile.put(i, v, tile[i, v] * spread(step, lanes))


def _halves(both: Expr) -> tuple[Expr, Expr]:
    """The signed integers in the low and in the high half of each byte."""

    def number(value: int) -> Expr:
        return spread(tirx.const(value, "int8"), both.ty.dtype.lanes)

    low = tirx.bitwise_xor(tirx.bitwise_and(both, number(15)), number(8)) - number(8)
    return low, tirx.shift_right(both, number(4))
