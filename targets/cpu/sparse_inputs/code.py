"""The code of a product that skips inputs of 0: each task lists those that are not, and adds their weights to its sums.

The weights of one input for the columns of a panel lie side by side, some thousand of them, so that memory is read in
long runs whichever inputs are left out: leaving out a few lines of cache here and there saves no time, as processors
fetch them all the same. A panel's sums are too many for registers and stay in L1. They are loaded once for a few
inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.gemm.code import Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Place, Task
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.cpu.inline import Kept
from dsc.targets.cpu.sparse_inputs.panels import InputPanels
from dsc.targets.cpu.tile import RegisterTile
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Vectors, flat, function, prefetch, spread, when, zeros


def write(source: Product, point: InputPanels, instruction: MultiplyAdd, packed: Packed) -> tirx.PrimFunc:
    """The function that computes `source`."""
    with function() as made:
        _Skipping(Frame(source, point.tiling, instruction, packed), point).tasks()
    return made.get()


@dataclass(frozen=True)
class _Inputs:
    """Those that are not 0 in some row, in order: groups of as many as are multiplied at once.

    The last group is filled up, and one follows it, with the last input and values of 0.
    """

    groups: Expr
    places: tirx.Buffer
    """Their numbers."""
    values: tirx.Buffer
    """For each its elements of all rows, side by side."""


@dataclass(frozen=True)
class _Group:
    """Inputs that are multiplied at once."""

    starts: Sequence[Expr]
    """Where the weights of each begin."""
    later: Sequence[Expr]
    """The same of the next group."""
    values: Vectors
    """For each its elements of all rows, each in all lanes."""


class _Skipping(Writer):
    def __init__(self, frame: Frame, point: InputPanels) -> None:
        super().__init__(frame)
        self.point = point
        assert self.source.weight is not None
        self.weights = flat(frame.packed[self.source.weight][0])

    def tasks(self) -> None:
        """The whole product: a task is some panels."""
        loops = self.loops
        with self.strips() as first:
            task = Task(loops.const(0), [], loops.const(0), 1)
            inputs = self._listed(task)
            with loops.each(self._panels_from(first)) as i:
                place = Place(task, loops.const(0), T.Bind(first + i))
                self._finished(place, self._summed(inputs, place.panel))

    def _listed(self, task: Task) -> _Inputs:
        """Goes through the inputs once, without a branch: each is put down where the list ends, and the list grows
        where one is not 0. NaN is not 0."""
        loops, rows, k = self.loops, self.tiling.rows, int(self.source.k)
        filling = 2 * self.point.inputs
        places = T.alloc_buffer((k + filling,), "int32")
        values = T.alloc_buffer(((k + filling) * rows,), "float32")
        counted = T.alloc_buffer((1,), "int32", scope="local")
        none = loops.const(0)
        T.buffer_store(counted, tirx.const(0, "int32"), [none])
        of_rows = [self.operands.element_of_a(task, loops.const(row)) for row in range(rows)]
        with loops.each(k) as place:
            end = T.Bind(counted[none])
            elements = [T.Bind(element(place)) for element in of_rows]
            T.buffer_store(places, place.astype("int32"), [end])
            for row, element in enumerate(elements):
                T.buffer_store(values, element, [end * rows + row])
            T.buffer_store(counted, end + _any(elements).astype("int32"), [none])
        count = T.Bind(counted[none])
        last = T.Bind(tirx.Select(count > 0, places[tirx.max(count - 1, 0)], tirx.const(0, "int32")))
        with loops.each(filling) as i:
            T.buffer_store(places, last, [count + i])
            with loops.each(rows) as row:
                T.buffer_store(values, tirx.const(0, "float32"), [(count + i) * rows + row])
        return _Inputs(T.Bind((count + (self.point.inputs - 1)) // self.point.inputs), places, values)

    def _summed(self, inputs: _Inputs, panel: Expr) -> tirx.Buffer:
        """The sums of a panel: ``[rows, columns]``."""
        loops, tiling = self.loops, self.tiling
        sums = T.alloc_buffer((tiling.rows, tiling.columns), "float32")
        with loops.each(tiling.rows) as row, loops.each(tiling.vectors) as v:
            T.buffer_store(sums, zeros(tiling.lanes), [row, loops.span(v * tiling.lanes, tiling.lanes)])
        width = self.point.vectors * tiling.lanes
        with loops.each(inputs.groups) as number:
            group = self._group(inputs, number, panel)
            with loops.each(tiling.columns // width) as part:
                self._add(sums, T.Bind(part * width), group)
        return sums

    def _group(self, inputs: _Inputs, number: Expr, panel: Expr) -> _Group:
        rows, together, k = self.tiling.rows, self.point.inputs, self.loops.const(self.source.k)
        entries = [T.Bind(number * together + i) for i in range(together)]

        def start(entry: Expr) -> Expr:
            return T.Bind((panel * k + inputs.places[entry]) * self.tiling.columns)

        values = Vectors(together * rows, self.tiling.lanes)
        for i, entry in enumerate(entries):
            for row in range(rows):
                values.put(i * rows + row, spread(inputs.values[entry * rows + row], self.tiling.lanes))
        later = [start(entry + together) for entry in entries] if self.point.asks_ahead else []
        return _Group([start(entry) for entry in entries], later, values)

    def _add(self, sums: tirx.Buffer, first: Expr, group: _Group) -> None:
        """Adds to some vectors of sums, from `first` on, what a group of inputs gives."""
        rows, lanes, loops = self.tiling.rows, self.tiling.lanes, self.loops
        tile = RegisterTile(self.instruction, rows, self.point.vectors * lanes, lanes)
        for v, (start, _) in enumerate(tile.vectors):
            for row in range(rows):
                tile.put(row, v, sums[row, loops.span(first + start, lanes)])
        for begin in group.later:
            for start, _ in tile.vectors:
                prefetch(self.weights, [begin + first + start])
        for i, begin in enumerate(group.starts):
            for v, (start, _) in enumerate(tile.vectors):
                weights = self.weights[loops.span(begin + first + start, lanes)]
                for row in range(rows):
                    tile.multiply_add(row, v, group.values[i * rows + row], weights)
        for v, (start, _) in enumerate(tile.vectors):
            for row in range(rows):
                T.buffer_store(sums, tile[row, v], [row, loops.span(first + start, lanes)])

    def _finished(self, place: Place, sums: tirx.Buffer) -> None:
        """The outputs of a panel: whole vectors, and what is left over."""
        lanes, loops = self.tiling.lanes, self.loops
        kept = Kept(self.source.kept, lanes)
        for row in range(self.tiling.rows):
            for is_full, width in self.frame.widths(place.panel):
                assert isinstance(width, int)  # the weight's shape is known
                with when(is_full):
                    with loops.each(width // lanes) as v:
                        self._store_vector(place, row, T.Bind(v * lanes), lanes, sums, kept)
                    if width % lanes:
                        self._store_vector(place, row, loops.const(width // lanes * lanes), width % lanes, sums, kept)

    def _store_vector(self, place: Place, row: int, start: Expr, lanes: int, sums: tirx.Buffer, kept: Kept) -> None:
        at, base = self._row(place, self.loops.const(row))
        with self.loops.each(lanes, T.vectorized) as lane:
            column = start + lane
            n = place.panel * self.tiling.columns + column
            self._outputs([*at, n], base + n, sums[row, column], kept.keep(lane))


def _any(elements: Sequence[Expr]) -> Expr:
    """Whether one is not 0."""
    found = elements[0] != 0
    for element in elements[1:]:
        found = tirx.Or(found, element != 0)
    return found
