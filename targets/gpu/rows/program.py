"""Regions whose reductions all go along the same elements: a row of them is read once, and everything follows from it.

A softmax, and a norm with the sum before it, are such regions, and so is the mean of an image. What is not: sums of
products, and windows, whose elements are read by many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm_ffi import structural_equal

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.nominal import nominal, volume
from dsc.lower.te import lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.access import Access, ranges, replaced, uses
from dsc.targets.gpu.axes import Axis, Parts, in_parts, limits, several, split
from dsc.targets.gpu.elements import Combiner, Elements
from dsc.targets.gpu.generic.plan import plan_of
from dsc.targets.gpu.generic.rows import Output, Reduced, Rows
from dsc.targets.gpu.neighbours import Read, distinct, placed
from dsc.targets.kernel import Refusal
from dsc.targets.tir.loops import function

Indices = tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Reduction:
    """What is put together of all elements of a row. Indices are in terms of the axes of the program."""

    tensor: te.Tensor
    at: Indices
    """Which of its elements is the row's."""
    walked: Indices
    """Along its own axes, where the element is."""
    reads: tuple[Read, ...]
    """Of the inputs, for an element."""

    def term(self, elements: Elements, program: Program, here: Sequence[Expr]) -> Expr:
        """What it takes of the element that is `here` along the program's axes."""
        return elements.source(self.tensor.op, program.at(self.at, here), program.at(self.walked, here))


@dataclass(frozen=True, eq=False)
class Program:
    """What is computed of each row."""

    inputs: tuple[te.Tensor, ...]
    scalars: tuple[tirx.Var, ...]
    results: tuple[te.Tensor, ...]
    """Of the function; one may be there twice."""
    rows: tuple[Axis, ...]
    """Number the rows, the last one varying fastest."""
    places: tuple[Axis, ...]
    """Number the elements of a row; their sizes are known."""
    reductions: tuple[Reduction, ...]
    """In an order in which each reads only those before it."""
    outputs: tuple[Output, ...]
    """The results that have elements, each once; at indices in terms of `axes`."""
    reads: tuple[Read, ...]
    """What the results read of the inputs, beside the reductions."""
    stored: tuple[Access, ...]
    """Where the elements of each of `outputs` lie."""

    @property
    def count(self) -> Dim:
        """Rows."""
        return product(axis.size for axis in self.rows)

    @property
    def length(self) -> int:
        """Elements of a row."""
        return volume(axis.size for axis in self.places)

    @property
    def axes(self) -> list[Axis]:
        """Number all elements: rows, and places in them."""
        return [*self.rows, *self.places]

    @property
    def row_axes(self) -> range:
        """Which of `axes` number the rows."""
        return range(len(self.rows))

    @property
    def place_axes(self) -> range:
        """Which of `axes` number the elements of a row."""
        return range(len(self.rows), len(self.rows) + len(self.places))

    @property
    def reduced_reads(self) -> list[Read]:
        """What the reductions read of the inputs."""
        return distinct([read for reduction in self.reductions for read in reduction.reads])

    def at(self, indices: Sequence[Expr], here: Sequence[Expr]) -> list[Expr]:
        """`indices`, in terms of `axes`, of the element that is `here` along these."""
        variables = [axis.var for axis in self.axes]
        return [replaced(index, variables, here) for index in indices]


def program_of(workload: Workload) -> Program | Refusal:
    """What `workload` computes of each row, or why that is not all it does."""
    found = plan_of(workload)
    if isinstance(found, Refusal):
        return found
    if len(found.launches) != 1:
        return Refusal("more than one launch")
    (rows,) = found.launches
    if not rows.reduced:
        return Refusal("nothing is reduced")
    if any(_is_product(each) for each in rows.reduced):
        return Refusal("a sum of products")
    if not all(_takes_all(each) for each in rows.reduced):
        return Refusal("a reduction of some elements")
    return _Search(workload, rows).program()


class _Search:
    """From rows as results have them to rows as memory has them: axes are split where what is read divides them."""

    def __init__(self, workload: Workload, rows: Rows) -> None:
        body = lowered(workload)
        self.workload, self.rows, self.inputs = workload, rows, tuple(body.inputs)
        self.results = tuple(body.outputs)
        axes = [Axis(var, size) for var, size in zip(rows.axes, rows.shape, strict=True) if not same(size, 1)]
        self.own = [_axes(found) for found in rows.reduced]
        needed = [self._reads(_term(found), [*axes, *own]) for found, own in zip(rows.reduced, self.own, strict=True)]
        beside = self._reads(_values(rows.outputs), axes)
        indices = [index for reads in (*needed, beside) for read in reads for index in read.indices]
        self.parts = split(axes, [*indices, *(index for found in rows.reduced for index in found.at)])
        self.own_parts = [
            split(own, [index for read in reads for index in read.indices])
            for own, reads in zip(self.own, needed, strict=True)
        ]
        self.needed, self.beside = needed, beside

    def program(self) -> Program | Refusal:
        """That of the rows, or why there is none."""
        axes = several(self.parts)
        simplify = limits(axes).simplify
        at = [tuple(map(simplify, in_parts(found.at, self.parts))) for found in self.rows.reduced]
        rows = [axis for axis in axes if any(_uses(each, axis) for each in at)]
        if not all(_uses(each, axis) for each in at for axis in rows):
            return Refusal("rows share what is reduced")
        places = [axis for axis in axes if axis not in rows] or several(self.own_parts[0])
        if not places or not all(isinstance(axis.size, int) for axis in places):
            return Refusal("rows of one element, or of a length that is not known")
        if not all(_are_same(places, several(parts)) for parts in self.own_parts):
            return Refusal("reductions along different elements")
        return self._of(rows, places, at)

    def _of(self, rows: Sequence[Axis], places: Sequence[Axis], at: Sequence[Indices]) -> Program | Refusal:
        outputs = [self._output(output, places) for output in self.rows.outputs]
        if None in outputs:
            return Refusal("a result of a part of each row")
        reductions = [self._reduction(i, each, rows, places) for i, each in enumerate(at)]
        if not all(any(_is_own(read) for read in reduction.reads) for reduction in reductions):
            return Refusal("rows share what they reduce, or it is not known where that lies")
        axes, kept = [*rows, *places], tuple(output for output in outputs if output is not None)
        stored = [placed(out.tensor, dims(out.tensor.shape), out.at, axes) for out in kept]
        assert None not in stored  # each index is a sum of those along axes
        return Program(
            self.inputs, self.workload.scalars, self.results, tuple(rows), tuple(places), tuple(reductions), kept,
            tuple(self._in_parts(read, self.parts, axes) for read in self.beside),
            tuple(access for access in stored if access is not None),
        )  # fmt: skip

    def _output(self, output: Output, places: Sequence[Axis]) -> Output | None:
        """A result by the parts of its axes; None where it has elements for a part of a row."""
        at = in_parts(output.at, self.parts)
        walked = [_uses(at, place) for place in places]
        return Output(output.tensor, at, walked[0]) if len(set(walked)) == 1 else None

    def _reduction(self, i: int, at: Indices, rows: Sequence[Axis], places: Sequence[Axis]) -> Reduction:
        """A reduction along `places`, the axes of the program, in place of its own."""
        stage, own = self.rows.reduced[i].tensor, self.own_parts[i]
        variables, along = [axis.var for axis in several(own)], [axis.var for axis in places]
        by_own = {part.whole: replaced(part.index, variables, along) for part in own}
        walked = tuple(axis.dom.min + by_own.get(axis.var, 0) for axis in stage.op.reduce_axis)
        axes = [*rows, *places]
        reads = [self._in_parts(read, [*self.parts, *own], [*rows, *several(own)]) for read in self.needed[i]]
        renamed = [
            Read.of(read.tensor, [replaced(index, variables, along) for index in read.indices], axes) for read in reads
        ]
        return Reduction(stage, at, walked, tuple(renamed))

    @staticmethod
    def _in_parts(read: Read, parts: Sequence[Parts], axes: Sequence[Axis]) -> Read:
        return Read.of(read.tensor, in_parts(read.indices, parts), axes)

    def _reads(self, compute: Callable[[Elements], object], axes: Sequence[Axis]) -> list[Read]:
        """What is read of the inputs to compute something, by the variables of `axes`."""
        noted: list[Read] = []

        def reading(source: te.Tensor) -> Leaf:
            def leaf(indices: Sequence[Expr]) -> Expr:
                noted.append(Read.of(source, indices, axes))
                return number(source)(indices)

            return leaf

        reduced = {found.tensor: number(found.tensor) for found in self.rows.reduced}
        with function():
            known = ranges([axis.var for axis in axes], [axis.size for axis in axes])
            compute(Elements({source: reading(source) for source in self.inputs} | reduced, known))
        return distinct(noted)


def _term(found: Reduced) -> Callable[[Elements], object]:
    """What a reduction takes at the variables of its axes."""
    stage = found.tensor.op
    return lambda elements: elements.source(stage, found.at, [axis.var for axis in stage.reduce_axis])


def _values(outputs: Sequence[Output]) -> Callable[[Elements], object]:
    return lambda elements: [elements.at(output.tensor, output.at) for output in outputs]


def _axes(found: Reduced) -> list[Axis]:
    """The axes of a reduction that have more than one element."""
    axes = found.tensor.op.reduce_axis
    sizes = dims(axis.dom.extent for axis in axes)
    return [Axis(axis.var, size) for axis, size in zip(axes, sizes, strict=True) if not same(size, 1)]


def _are_same(left: Sequence[Axis], right: Sequence[Axis]) -> bool:
    return len(left) == len(right) and all(same(a.size, b.size) for a, b in zip(left, right, strict=True))


def _uses(indices: Indices, axis: Axis) -> bool:
    return any(uses(index, axis.var) for index in indices)


def _is_product(found: Reduced) -> bool:
    """Whether different things are multiplied and summed."""
    source = found.tensor.op.body[0].source[0]
    while isinstance(source, tirx.Cast):
        source = source.value
    return isinstance(source, tirx.Mul) and not structural_equal(source.a, source.b)


def _takes_all(found: Reduced) -> bool:
    stage = found.tensor.op
    indices = [[axis.var for axis in axes] for axes in (stage.axis, stage.reduce_axis)]
    return Combiner(stage).condition(*indices) is None


def _is_own(read: Read) -> bool:
    """Whether each element is read in one place of one row, wherever that is, and can be loaded without being asked
    for."""
    access = read.access
    if access is None or not access.is_within():
        return False
    reach = 0
    for step, size in sorted(zip(map(nominal, access.steps), map(nominal, access.sizes), strict=True)):
        if size > 1 and step <= reach:
            return False
        reach += (size - 1) * step
    return True


def number(tensor: te.Tensor) -> Leaf:
    """Stands for any element: for what is asked of code before it is written."""
    return lambda _: tirx.Var("number", str(tensor.dtype))
