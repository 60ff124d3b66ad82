"""Which reductions a row of a result needs, so that one launch computes them and the row.

A softmax reads the largest element and the sum of its row wherever it computes an element of that row. The axes that
such reads depend on number the *rows*; the other axes of the result are *walked*. What a group of threads does for one
row: each reduction in turn, together, and then the elements of the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Expr
from tvm_ffi import structural_equal

from dsc.lower.exprs import Dim, dims, product, same, simplify
from dsc.lower.nominal import volume
from dsc.lower.stages import stages
from dsc.targets.cpu.inline import Leaf, identity
from dsc.targets.gpu.elements import Elements
from dsc.targets.kernel import Refusal
from dsc.targets.tir.loops import function

Read = tuple[Expr, ...]
"""Indices, in terms of the variables of the result's axes."""


@dataclass(frozen=True)
class Reduced:
    """A reduction of a row."""

    tensor: te.Tensor
    at: Read
    """Which of its elements belongs to the row."""


@dataclass(frozen=True)
class Output:
    """A result that is written along with a row."""

    tensor: te.Tensor
    at: Read
    """Which of its elements."""
    walked: bool
    """Whether it has an element for each of the row's, or one for the row."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What one launch computes."""

    axes: tuple[tirx.Var, ...]
    """Stand for the indices of the largest result."""
    shape: tuple[Dim, ...]
    """The sizes of these axes."""
    across: tuple[int, ...]
    """The axes that number the rows."""
    along: tuple[int, ...]
    """The axes that are walked in each."""
    reduced: tuple[Reduced, ...]
    """In an order in which each reads only those before it."""
    outputs: tuple[Output, ...]

    @property
    def count(self) -> Dim:
        """Rows."""
        return product(self.shape[a] for a in self.across)

    @property
    def length(self) -> Dim:
        """Elements of a row."""
        return product(self.shape[a] for a in self.along)


@dataclass(frozen=True)
class Stored:
    """A reduction that must be in memory before: it is read at places that are no row's."""

    tensor: te.Tensor


@dataclass(frozen=True)
class Apart:
    """Results that do not fit one launch: each wants its own."""


def rows_of(outputs: Sequence[te.Tensor], memory: Sequence[te.Tensor]) -> Rows | Stored | Apart | Refusal:
    """How `outputs` are computed in one launch from what is in `memory`, or what is in the way."""
    largest = max(outputs, key=lambda tensor: volume(tensor.shape))
    shape = tuple(dims(largest.shape))
    axes = tuple(tirx.Var(f"i{a}", str(tirx.convert(size).ty)) for a, size in enumerate(largest.shape))
    sizes = [v for stage in stages(outputs) for size in stage.shape for v in _variables(size)]
    search = _Search(memory, [*axes, *sizes])
    places: list[Read] = []
    for tensor in outputs:
        place = _place(tensor, shape, axes)
        if place is None:
            return Apart()
        if (stored := search.follow(tensor, place)) is not None:
            return stored
        places.append(place)
    if search.problems:
        return Refusal(search.problems[0])
    return _numbered(outputs, places, shape, axes, tuple(search.found))


def _numbered(
    outputs: Sequence[te.Tensor],
    places: Sequence[Read],
    shape: tuple[Dim, ...],
    axes: tuple[tirx.Var, ...],
    found: tuple[Reduced, ...],
) -> Rows | Stored | Apart:
    """The rows that the reductions that were found make of the axes."""
    several = [a for a in range(len(axes)) if not same(shape[a], 1)]
    across = tuple(a for a in several if any(_uses(reduced.at, axes[a]) for reduced in found))
    along = tuple(a for a in several if a not in across)
    for reduced in found:
        if not all(_uses(reduced.at, axes[a]) for a in across):
            return Stored(reduced.tensor)  # each row would compute it again
    made: list[Output] = []
    for tensor, place in zip(outputs, places, strict=True):
        walked = bool(along) and all(_uses(place, axes[a]) for a in along)
        partly = not walked and any(_uses(place, axes[a]) for a in along)
        smaller = not walked and bool(along) and not found
        if partly or smaller or not all(_uses(place, axes[a]) for a in across):
            return Apart()
        made.append(Output(tensor, place, walked))
    return Rows(axes, shape, across, along, found, tuple(made))


def _place(tensor: te.Tensor, shape: Sequence[Dim], axes: Sequence[tirx.Var]) -> Read | None:
    """Where `tensor` belongs to element `axes` of a result of `shape`, if it is of that shape but for axes of 1."""
    sizes = dims(tensor.shape)
    if len(sizes) != len(shape):
        return () if not sizes else None
    if not all(same(size, whole) or same(size, 1) for size, whole in zip(sizes, shape, strict=True)):
        return None
    return tuple(
        axis if same(size, whole) and not same(size, 1) else tirx.const(0, str(axis.ty))
        for size, whole, axis in zip(sizes, shape, axes, strict=True)
    )


@dataclass
class _Search:
    """Follows what results read, down to memory and to reductions."""

    memory: Sequence[te.Tensor]
    known: Sequence[tirx.Var]
    """What indices of rows are made of: the axes of the result, and sizes."""
    problems: list[str] = field(default_factory=list)
    """Why elements cannot be computed."""
    found: list[Reduced] = field(default_factory=list)
    """Those that are read so far, each after those that it reads."""

    def follow(self, tensor: te.Tensor, at: Read) -> Stored | None:
        """Notes the reductions that an element needs; gives one that must be in memory."""
        if isinstance(tensor.op, te.ComputeOp) and tensor.op.reduce_axis and not self._in_memory(tensor):
            return self._add(tensor, at)
        for read, indices in self._reads(tensor, at):
            if (stored := self._add(read, indices)) is not None:
                return stored
        return None

    def _add(self, tensor: te.Tensor, at: Read) -> Stored | None:
        earlier = next((r for r in self.found if identity(r.tensor) == identity(tensor)), None)
        if earlier is not None:
            return None if _equal(earlier.at, at) else Stored(tensor)
        if not all(_is_one_of(v, self.known) for index in at for v in tirx.analysis.undefined_vars(index)):
            return Stored(tensor)
        for read, indices in self._reads(tensor, at):
            if (stored := self._add(read, indices)) is not None:
                return stored
        self.found.append(Reduced(tensor, at))
        return None

    def _reads(self, tensor: te.Tensor, at: Read) -> list[tuple[te.Tensor, Read]]:
        """The reductions that an element reads, or, of a reduction, that its operands read, and where."""
        reads: list[tuple[te.Tensor, Read]] = []

        def reduction(read: te.Tensor) -> Leaf:
            def leaf(indices: Sequence[Expr]) -> Expr:
                reads.append((read, tuple(_index(index) for index in indices)))
                return tirx.Var("reduced", str(read.dtype))

            return leaf

        others = [r for r in reductions([tensor]) if identity(r) != identity(tensor) and not self._in_memory(r)]
        leaves = {r: reduction(r) for r in others} | {known: _loaded(known) for known in self.memory}
        with function():
            elements = Elements(leaves)
            stage = tensor.op
            if isinstance(stage, te.ComputeOp) and stage.reduce_axis:
                elements.source(stage, at, [axis.var for axis in stage.reduce_axis])
            else:
                elements.at(tensor, at)
        self.problems += elements.problems
        return reads

    def _in_memory(self, tensor: te.Tensor) -> bool:
        return any(identity(known) == identity(tensor) for known in self.memory)


def _loaded(tensor: te.Tensor) -> Leaf:
    return lambda _: tirx.Var("loaded", str(tensor.dtype))


def _index(index: Expr) -> Expr:
    """An index in its simplest form; whatever its type, which differs between axes of known and of unknown size."""
    found = simplify(index)
    while isinstance(found, tirx.Cast):
        found = found.value
    return found if isinstance(found, Expr) else tirx.const(found, str(index.expr_ty()))


def _equal(left: Read, right: Read) -> bool:
    return all(structural_equal(a, b) for a, b in zip(left, right, strict=True))


def _variables(size: Dim) -> list[tirx.Var]:
    return list(tirx.analysis.undefined_vars(size)) if isinstance(size, Expr) else []


def _is_one_of(variable: tirx.Var, known: Sequence[tirx.Var]) -> bool:
    return any(variable.same_as(each) for each in known)


def placed_at(read: Read, at: Mapping[tirx.Var, Expr]) -> list[Expr]:
    """Indices, with those of the place that is computed in them."""
    return [tvm_ffi.structural_map(index, (tirx.Var, lambda var: at.get(var, var))) for index in read]


def _uses(at: Read, axis: tirx.Var) -> bool:
    return any(variable.same_as(axis) for index in at for variable in tirx.analysis.undefined_vars(index))


def reductions(outputs: Sequence[te.Tensor]) -> list[te.Tensor]:
    """Every stage with a reduction that `outputs` are computed by, themselves included."""
    return [t for t in stages(outputs) if isinstance(t.op, te.ComputeOp) and t.op.reduce_axis]
