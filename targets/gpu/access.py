"""Where the elements of a tensor expression lie in memory, if each of them is one element there, or 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Call, Expr, Range

from dsc.lower.exprs import Dim, dims, divides, is_natural, product, same, simplify
from dsc.lower.nominal import nominal
from dsc.lower.rounding import upper_half, widened_bits
from dsc.lower.tensors import ravel
from dsc.targets.cpu.inline import Inliner, Leaf
from dsc.targets.tir.loops import Loops

VECTOR_TYPES = ("float32", "int32", "float16", "uint16", "int8", "uint8")
"""Whose vectors all GPU languages of TVM load and store at once."""


@dataclass(frozen=True, eq=False)
class Access:
    """Of a tensor, ``memory[start + sum(index * step)]`` where `inside` holds, and 0 elsewhere: a matrix, or an image
    with its padding. A tensor of another element type is that, converted."""

    memory: te.Tensor
    """An input."""
    variables: tuple[tirx.Var, ...]
    """Stand for the indices of the tensor."""
    sizes: tuple[Dim, ...]
    """Of the tensor."""
    start: Dim
    """Where its first element lies, in elements; may be before the memory, where that is padding."""
    steps: tuple[Dim, ...]
    """How far apart neighbours along each axis are, in elements."""
    inside: Expr | None
    """In terms of `variables`; None where all elements are in memory."""
    upper_half: bool = False
    """Whether memory has bfloat16, in its bits, and the tensor is float32."""

    @staticmethod
    def of(tensor: te.Tensor, memory: Sequence[te.Tensor]) -> Access | None:
        """That of a tensor that is computed from `memory`; None where it is more than that."""
        found = traced(tensor, memory)
        conditions: list[Expr] = []
        if len(found.reads) != 1 or not _is_load(found.value, conditions):
            return None
        ((source, indices),) = found.reads
        line = linear(ravel(indices, dims(source.shape)), found.variables)
        if line is None:
            return None
        inside = found.known.simplify(tirx.all(*conditions)) if conditions else None
        sizes = tuple(dims(tensor.shape))
        is_half = str(source.dtype) == "uint16" and str(tensor.dtype) == "float32" and _is_widened(found.value)
        return Access(source, found.variables, sizes, *line, None if _is_true(inside) else inside, is_half)

    def position(self, at: Sequence[Expr]) -> Expr:
        """Of an element in memory."""
        return sum((index * step for index, step in zip(at, self.steps, strict=True) if not same(step, 0)), self.start)

    def offset(self, axes: Sequence[int], place: Expr, loops: Loops) -> Expr:
        """How far an element is from the first one along some axes, the last of which varies fastest in `place`."""
        joined = self._joined(axes)
        at = loops.unravel(place, [size for size, _ in joined])
        return sum((index * step for index, (_, step) in zip(at, joined, strict=True)), loops.const(0))

    def _joined(self, axes: Sequence[int]) -> list[tuple[Dim, Dim]]:
        """Sizes of axes and steps along them; those that are one walk through memory are one."""
        found: list[tuple[Dim, Dim]] = []
        for axis in axes:
            size, step = self.sizes[axis], self.steps[axis]
            if found and same(found[-1][1], step * size):
                found[-1] = simplify(found[-1][0] * size), step
            else:
                found.append((size, step))
        return found

    def is_inside(self, at: Sequence[Expr]) -> Expr | None:
        """Whether an element is in memory; None where all are."""
        return None if self.inside is None else replaced(self.inside, self.variables, at)

    def is_all(self) -> bool:
        """Whether each element of the memory, whose size is known, is that of one place."""
        elements = 1
        for step, size in sorted(zip(map(nominal, self.steps), map(nominal, self.sizes), strict=True)):
            if step != elements:
                return False
            elements *= size
        known = all(isinstance(value, int) for value in (*self.steps, *self.sizes))
        return (
            known and self.inside is None and same(self.start, 0) and same(product(dims(self.memory.shape)), elements)
        )

    def is_within(self) -> bool:
        """Whether all places are known to lie in memory, those under a condition included."""
        last = self.start
        for step, size in zip(self.steps, self.sizes, strict=True):
            last = last + step * (size - 1)
        beyond = simplify(product(dims(self.memory.shape)) - 1 - last)
        return all(map(is_natural, (self.start, *self.steps))) and isinstance(beyond, int) and beyond >= 0

    def run(self, axes: Sequence[int]) -> int:
        """How many elements side by side memory holds, for each next one along some axes, the last varying fastest."""
        found = 1
        for axis in reversed(axes):
            size = self.sizes[axis]
            if same(size, 1):
                continue
            if not same(self.steps[axis], found):
                break
            found *= nominal(size)
        return found

    def vector(self, axes: Sequence[int], most: int) -> int:
        """The most elements that are loaded at once as a vector of their type: see `together`."""
        return self.together(axes, most) if str(self.memory.dtype) in VECTOR_TYPES else 1

    def converted(self, loaded: Expr, dtype: str) -> Expr:
        """What is loaded, as the tensor has it."""
        return widened_bits(loaded) if self.upper_half else loaded.astype(dtype)

    def together(self, axes: Sequence[int], most: int) -> int:
        """The most elements, a power of two, that lie side by side wherever the place along `axes`, taken together as
        in `run`, is a multiple of it: they are aligned, and all inside or none."""
        within, expected = list[int](), 1
        for axis in reversed(axes):
            size = self.sizes[axis]
            if same(size, 1):
                continue
            if not isinstance(size, int) or not same(self.steps[axis], expected) or self._is_asked(axis):
                break
            within.append(axis)
            expected *= size
        others = [self.steps[a] for a in range(len(self.sizes)) if a not in within and not same(self.sizes[a], 1)]
        while most > 1 and not all(is_multiple(value, most) for value in (expected, self.start, *others)):
            most //= 2
        return most

    def _is_asked(self, axis: int) -> bool:
        """Whether being inside depends on an index."""
        return self.inside is not None and uses(self.inside, self.variables[axis])


@dataclass(frozen=True, eq=False)
class Traced:
    """What an element of a tensor is computed of."""

    variables: tuple[tirx.Var, ...]
    """Stand for its indices."""
    known: sym.Analyzer
    """Knows their ranges."""
    reads: list[tuple[te.Tensor, list[Expr]]]
    """Of memory, with simple indices."""
    value: Expr
    """With a variable for each read."""


def traced(tensor: te.Tensor, memory: Sequence[te.Tensor]) -> Traced:
    """A tensor that is computed from `memory` without reductions; where it is not, zeros stand for them."""
    variables = tuple(axis.var for axis in tensor.op.axis)
    known = ranges(variables, dims(tensor.shape))
    reads: list[tuple[te.Tensor, list[Expr]]] = []

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            reads.append((source, [known.simplify(index) for index in indices]))
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    value = Inliner({source: reading(source) for source in memory}).at(tensor, variables)
    return Traced(variables, known, reads, value)


def _is_load(value: Expr, conditions: list[Expr]) -> bool:
    """Whether a value is what is loaded, or 0 unless `conditions`, which are appended, hold; converted once, if at all:
    twice may be rounding."""
    conversions = 0
    while not isinstance(value, tirx.Var):
        if isinstance(value, tirx.Cast):
            conversions += 1
            value = value.value
        elif isinstance(value, Call) and str(value.op.name).endswith("if_then_else"):
            holds, value, otherwise = value.args
            if not _is_zero(otherwise):
                return False
            conditions.append(holds)
        else:
            return conversions == 0 and isinstance(upper_half(value), tirx.Var)
    return conversions <= 1


def _is_widened(value: Expr) -> bool:
    """Whether a value is what is loaded, a bfloat16 in its bits, as float32; or 0."""
    while isinstance(value, Call) and str(value.op.name).endswith("if_then_else"):
        value = value.args[1]
    return isinstance(upper_half(value), tirx.Var)


def _is_zero(value: Expr) -> bool:
    while isinstance(value, Call) and len(value.args) == 1:  # a number that TVM does not fold
        (value,) = value.args
    return isinstance(value, tirx.FloatImm | tirx.IntImm) and value.value == 0


def linear(position: Dim, variables: Sequence[tirx.Var]) -> tuple[Dim, tuple[Dim, ...]] | None:
    """A position as a start, and how far apart neighbours along each variable are; None where that varies."""
    if not isinstance(position, Expr) or not any(uses(position, variable) for variable in variables):
        return simplify(position), (0,) * len(variables)
    match position:
        case tirx.Var():
            return 0, tuple(int(position.same_as(variable)) for variable in variables)
        case tirx.Cast():
            return linear(position.value, variables)
        case tirx.Add() | tirx.Sub() | tirx.Mul():
            left, right = linear(position.a, variables), linear(position.b, variables)
            return None if left is None or right is None else _combined(position, left, right)
    return None


Line = tuple[Dim, tuple[Dim, ...]]


def _combined(node: tirx.Add | tirx.Sub | tirx.Mul, left: Line, right: Line) -> Line | None:
    """The sum, the difference, or the product of two positions, one of which is the same everywhere."""
    if isinstance(node, tirx.Mul):
        if any(not same(step, 0) for step in left[1]):
            left, right = right, left
        if any(not same(step, 0) for step in left[1]):
            return None
        return simplify(left[0] * right[0]), tuple(simplify(left[0] * step) for step in right[1])
    sign = 1 if isinstance(node, tirx.Add) else -1
    steps = tuple(simplify(a + b * sign) for a, b in zip(left[1], right[1], strict=True))
    return simplify(left[0] + right[0] * sign), steps


def ranges(indices: Sequence[Expr], sizes: Sequence[Dim]) -> sym.Analyzer:
    """Knows that each index, if it is a variable, is one of an axis of that size."""
    known = sym.Analyzer()
    for index, size in zip(indices, sizes, strict=True):
        limit(known, index, 0, size)
    return known


def limit(known: sym.Analyzer, index: Expr, start: Dim, size: Dim) -> None:
    """Tells `known` the range of an index, if it is a variable."""
    if isinstance(index, tirx.Var):
        known.bind(index, Range.from_min_extent(_typed(start, index), _typed(size, index)))


def replaced(expression: Expr, variables: Sequence[tirx.Var], values: Sequence[Expr]) -> Expr:
    """An expression with values in the place of variables."""
    by_variable = dict(zip(variables, values, strict=True))
    return tvm_ffi.structural_map(
        expression, (tirx.Var, lambda var: _typed(by_variable[var], var) if var in by_variable else var)
    )


def uses(expression: Expr, variable: tirx.Var) -> bool:
    """Whether a variable is part of an expression."""
    return any(variable.same_as(each) for each in tirx.analysis.undefined_vars(expression))


def is_multiple(value: Dim, factor: int) -> bool:
    """Whether a number is provably one of `factor`."""
    return divides(factor, value) or (isinstance(value, Expr) and same(tirx.floormod(value, factor), 0))


def _is_true(condition: Expr | None) -> bool:
    """Whether a condition is known to hold."""
    return isinstance(condition, tirx.IntImm) and bool(condition.value)


def _typed(value: Dim, variable: tirx.Var) -> Expr:
    """`value` in the integer type of a variable."""
    dtype = str(variable.ty)
    if isinstance(value, int):
        return tirx.const(value, dtype)
    return value if str(value.expr_ty()) == dtype else value.astype(dtype)
