"""Regions whose reductions all go along the same elements: a row of them is read once, and everything follows from it.

A softmax, and a norm with the sum before it, are such regions, and so is the mean of an image. What is not: sums of
products, and windows, whose elements are read by many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx
from tvm.ir import Expr
from tvm_ffi import structural_equal

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.nominal import nominal, volume
from dsc.lower.te import lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.inline import Leaf, identity
from dsc.targets.gpu.access import Access, ranges, replaced
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Combiner, Elements, limits
from dsc.targets.gpu.generic.plan import plan_of
from dsc.targets.gpu.generic.rows import Output, Reduced, Rows
from dsc.targets.gpu.neighbours import Read, distinct, placed
from dsc.targets.kernel import Refusal
from dsc.targets.tir.loops import function


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
    reduced: tuple[Reduced, ...]
    """In an order in which each reads only those before it; at indices in terms of `rows`."""
    outputs: tuple[Output, ...]
    """The results that have elements, each once; at indices in terms of `rows` and `places`."""

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
        return range(len(self.rows), len(self.axes))

    @cached_property
    def needed(self) -> tuple[list[Read], ...]:
        """What each reduction reads of the inputs."""
        return tuple(self._reads(self._term_of(found)) for found in self.reduced)

    @cached_property
    def beside(self) -> list[Read]:
        """What the results read of the inputs."""
        return self._reads(self._results)

    @cached_property
    def stored(self) -> tuple[Access, ...]:
        """Where the elements of each of `outputs` lie."""
        found = [placed(out.tensor, dims(out.tensor.shape), out.at, self.axes) for out in self.outputs]
        assert None not in found  # each index is that along an axis, or 0
        return tuple(access for access in found if access is not None)

    def at(self, indices: Sequence[Expr], here: Sequence[Expr]) -> list[Expr]:
        """`indices`, in terms of `axes`, of the element that is `here` along these."""
        return [replaced(index, [axis.var for axis in self.axes], here) for index in indices]

    def term(self, elements: Elements, found: Reduced, here: Sequence[Expr]) -> Expr:
        """What a reduction takes of an element, by its indices along `axes`."""
        place, walked = iter(here[len(self.rows) :]), list[Expr]()
        for axis in found.tensor.op.reduce_axis:
            walked.append(axis.dom.min if same(axis.dom.extent, 1) else axis.dom.min + next(place))
        return elements.source(found.tensor.op, self.at(found.at, here), walked)

    @property
    def reductions(self) -> list[te.Tensor]:
        """In the order of `reduced`."""
        return [found.tensor for found in self.reduced]

    @staticmethod
    def free(tensors: Sequence[te.Tensor]) -> dict[te.Tensor, Leaf]:
        """A number in place of each element: for what is asked of the code before it is written."""
        return {tensor: _number(tensor) for tensor in tensors}

    def _term_of(self, found: Reduced) -> Callable[[Elements], object]:
        return lambda elements: self.term(elements, found, [axis.var for axis in self.axes])

    def _results(self, elements: Elements) -> None:
        for output in self.outputs:
            elements.at(output.tensor, output.at)

    def _reads(self, compute: Callable[[Elements], object]) -> list[Read]:
        """What is read of the inputs to compute something of the element whose indices are the variables of `axes`."""
        noted: list[Read] = []

        def reading(source: te.Tensor) -> Leaf:
            def leaf(indices: Sequence[Expr]) -> Expr:
                noted.append(Read.of(source, indices, self.axes))
                return _number(source)(indices)

            return leaf

        with function():
            known = ranges([axis.var for axis in self.axes], [axis.size for axis in self.axes])
            compute(Elements({source: reading(source) for source in self.inputs} | self.free(self.reductions), known))
        return distinct(noted)


def program_of(workload: Workload) -> Program | Refusal:
    """What `workload` computes of each row, or why that is not all it does."""
    found = plan_of(workload)
    if isinstance(found, Refusal):
        return found
    if len(found.launches) != 1:
        return Refusal("more than one launch")
    (rows,) = found.launches
    places = _places(rows)
    if isinstance(places, Refusal):
        return places
    body, across = lowered(workload), [Axis(rows.axes[a], rows.shape[a]) for a in rows.across]
    program = Program(
        tuple(body.inputs), workload.scalars, tuple(body.outputs), tuple(across), places, rows.reduced, rows.outputs
    )
    if not all(any(_is_own(read) for read in needed) for needed in program.needed):
        return Refusal("rows share what they reduce, or it is not known where that lies")
    return program


def _places(rows: Rows) -> tuple[Axis, ...] | Refusal:
    """The axes along which all reductions of a row go, and its elements."""
    if not rows.reduced:
        return Refusal("nothing is reduced")
    if any(_is_product(found) for found in rows.reduced):
        return Refusal("a sum of products")
    if any(not _takes_all(found) for found in rows.reduced):
        return Refusal("a reduction of some elements")
    own = [_axes(found) for found in rows.reduced]
    along = [Axis(rows.axes[a], rows.shape[a]) for a in rows.along] or own[0]
    if not along or not all(isinstance(axis.size, int) for axis in along):
        return Refusal("rows of one element, or of a length that is not known")
    if not all(_are_same(along, axes) for axes in own):
        return Refusal("reductions along different elements")
    return tuple(along)


def _axes(found: Reduced) -> list[Axis]:
    """The axes of a reduction that have more than one element."""
    axes = found.tensor.op.reduce_axis
    sizes = dims(axis.dom.extent for axis in axes)
    return [Axis(axis.var, size) for axis, size in zip(axes, sizes, strict=True) if not same(size, 1)]


def _are_same(left: Sequence[Axis], right: Sequence[Axis]) -> bool:
    return len(left) == len(right) and all(same(a.size, b.size) for a, b in zip(left, right, strict=True))


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


def _number(tensor: te.Tensor) -> Leaf:
    return lambda _: tirx.Var("number", str(tensor.dtype))
