"""Transposes, packs and unpacks: copies of square tiles that are turned in registers.

Where the axis that is contiguous in the result is not the one that is contiguous in the input, a plain loop touches
a cache line for each element. A tile of vectors reads whole lines and writes whole lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import s_tir, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, divides, minimum, product, same, static
from dsc.lower.nominal import volume
from dsc.lower.workload import Workload
from dsc.targets.cpu.generic.prepare import prepared
from dsc.targets.cpu.generic.schedule import worth_a_launch
from dsc.targets.cpu.generic.stages import Stage, element_bits, stages
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.turn import turned
from dsc.targets.kernel import Implementation, Refusal, Work, roofline
from dsc.targets.tir.loops import Loops, argument, flat, function

SMALLEST, LARGEST = 4, 16
"""Sides of tiles: narrow ones gain nothing, and those of more than 16 vectors do not fit the registers."""
EFFICIENCY = 0.5
"""Of the bandwidth of plain copies, at most: each element goes through several shuffles."""


@dataclass(frozen=True)
class Axis:
    """A loop of the copy: how far one step goes in the result and in the input, in elements."""

    extent: Dim
    store: Dim
    load: Dim


@dataclass(frozen=True)
class Copy:
    """``out[sum(i * store)] = in[sum(i * load)]`` over all axes."""

    inner_out: Axis
    """Contiguous in the result."""
    inner_in: Axis
    """Contiguous in the input."""
    outer: tuple[Axis, ...]

    @staticmethod
    def of(stage: Stage) -> Copy | str:
        """The copy that a stage is, or why it is not a transposing one."""
        if not stage.regular or stage.reduce or stage.body.cost or len(stage.loads) != 1 or stage.touches_private:
            return "not a copy of one input"
        if any(step is None for steps in stage.strides for step in steps):
            return "the input is not walked through evenly"
        axes = [Axis(_size(i.dom.extent), *s) for i, s in zip(stage.spatial, stage.strides, strict=True)]
        axes = _joined([axis for axis in axes if axis.extent != 1])
        results = [axis for axis in axes if axis.store == 1]
        inputs = [axis for axis in axes if axis.load == 1]
        if len(results) != 1 or len(inputs) != 1 or results == inputs:
            return "rows are copied as they are"
        return Copy(results[0], inputs[0], tuple(a for a in axes if a not in (results[0], inputs[0])))


def _size(extent: Expr | int) -> Dim:
    known = static(extent)
    return extent if known is None else known


def _joined(axes: Sequence[Axis]) -> list[Axis]:
    """Neighbours that are one walk in the result and in the input become one axis."""
    found: list[Axis] = []
    for axis in axes:
        if found and _continues(found[-1].store, axis.store, axis) and _continues(found[-1].load, axis.load, axis):
            axis = Axis(found.pop().extent * axis.extent, axis.store, axis.load)
        found.append(axis)
    return found


def _continues(outer: Dim, inner: Dim, axis: Axis) -> bool:
    return same(outer, inner * axis.extent)


@dataclass(frozen=True)
class Tile:
    """The one point: tiles of `lanes` by `lanes`."""

    lanes: int


@dataclass(frozen=True, eq=False)
class TransposeSpace:
    """One transposing copy."""

    func: tirx.PrimFunc
    copy: Copy
    lanes: int
    machine: Cpu

    def points(self) -> tuple[Tile]:
        """The largest tile that fits."""
        return (Tile(self.lanes),)

    def estimate(self, point: Tile) -> float:
        """Bytes moved; shuffles count as arithmetic."""
        elements = volume(self.func.params[0].shape)
        shuffles = elements * (point.lanes.bit_length() - 1)
        tasks = 4 * self.machine.cores if self.parallel else 1
        return roofline(self.machine, Work(shuffles, self.bytes, efficiency=EFFICIENCY, tasks=tasks))

    @property
    def bytes(self) -> int:
        """Read and written."""
        return 2 * volume(self.func.params[0].shape) * element_bits(self.func.params[0]) // 8

    @property
    def parallel(self) -> bool:
        """Whether it takes long enough to be shared between cores."""
        return worth_a_launch(self.bytes / self.machine.bandwidth(self.bytes), self.machine)

    def build(self, point: Tile) -> Implementation:
        """The code."""
        with function() as made:
            _Writer(self.func, self.copy, point.lanes, self.parallel).write()
        return Implementation(made.get())


class _Writer:
    def __init__(self, func: tirx.PrimFunc, copy: Copy, lanes: int, parallel: bool) -> None:
        self.func, self.copy, self.lanes, self.parallel = func, copy, lanes, parallel
        sizes = [size for buffer in _buffers(func) for size in buffer.shape]
        self.loops = Loops("int32" if all(static(size) is not None for size in sizes) else "int64")

    def write(self) -> None:
        """Parameters; then all tiles, those along the input's rows outside."""
        source, *scalars, result = self.func.params
        source = argument("in0", source.shape, source.dtype)
        for scalar in scalars:
            T.arg(scalar.name, scalar)
        result = argument("out0", result.shape, result.dtype)
        self.source, self.result = flat(source), flat(result)
        columns, rows = self.copy.inner_in, self.copy.inner_out
        outer = [axis.extent for axis in self.copy.outer]
        per_row, kind = ceildiv(columns.extent, self.lanes), T.parallel if self.parallel else T.serial
        with self.loops.each(product(outer) * per_row, kind) as task:
            row, tile = self.loops.split(task, per_row)
            at = self.loops.unravel(row, outer)
            column = self.loops.bind(self._start(tile, columns))
            load = T.Bind(self._offset(at, [axis.load for axis in self.copy.outer]) + column)
            store = T.Bind(self._offset(at, [axis.store for axis in self.copy.outer]) + column * columns.store)
            with self.loops.each(ceildiv(rows.extent, self.lanes)) as tile:
                row = self.loops.bind(self._start(tile, rows))
                self._tile(load + row * rows.load, store + row)

    def _offset(self, at: Sequence[Expr], steps: Sequence[Dim]) -> Expr:
        return sum((place * step for place, step in zip(at, steps, strict=True)), self.loops.const(0))

    def _start(self, tile: Expr, axis: Axis) -> Dim:
        """Where a tile begins: a ragged last one overlaps the one before it."""
        start = tile * self.lanes
        return start if divides(self.lanes, axis.extent) else minimum(start, axis.extent - self.lanes)

    def _tile(self, load: Expr, store: Expr) -> None:
        lanes, row, column = self.lanes, self.copy.inner_out.load, self.copy.inner_in.store
        vectors = [T.Bind(self.source[self.loops.span(load + i * row, lanes)]) for i in range(lanes)]
        for i, vector in enumerate(turned(vectors)):
            T.buffer_store(self.result, vector, [self.loops.span(store + i * column, lanes)])


def transposing_copy(workload: Workload) -> tuple[tirx.PrimFunc, Copy] | Refusal:
    """The workload unscheduled, and the one copy that it is, whose two contiguous axes differ; or why it is none."""
    if len(workload.inputs) != 1 or len(workload.outputs) != 1:
        return Refusal("not one input and one output")
    func = prepared(workload)
    found = stages(s_tir.Schedule(func))
    copy = Copy.of(found[0]) if len(found) == 1 else f"{len(found)} stages"
    return Refusal(copy) if isinstance(copy, str) else (func, copy)


def _buffers(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    return [parameter for parameter in func.params if tirx.is_buffer_var(parameter)]


@dataclass(frozen=True)
class Transpose:
    """Copies that turn at least one register's worth of rows into columns."""

    name: str = "cpu.transpose"

    def match(self, workload: Workload, machine: Cpu) -> TransposeSpace | Refusal:
        """The space, where the body is one copy whose two contiguous axes differ and are long enough."""
        found = transposing_copy(workload)
        if isinstance(found, Refusal):
            return found
        func, copy = found
        lanes = _lanes(copy, machine.lanes(element_bits(func.params[0])))
        if lanes < SMALLEST:
            return Refusal(f"an axis is shorter than {SMALLEST} elements, or of unknown length")
        return TransposeSpace(func, copy, lanes, machine)


def _lanes(copy: Copy, most: int) -> int:
    """The largest power of two not above `most` and the lengths of both contiguous axes; 0 if one is not known."""
    lengths = [axis.extent for axis in (copy.inner_in, copy.inner_out)]
    shortest = min(length if isinstance(length, int) else 0 for length in lengths)
    return int(1 << (min(most, LARGEST, shortest).bit_length() - 1)) if shortest else 0
