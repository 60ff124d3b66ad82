"""What the elements of small integer tensors are, in terms of dims: the shape arithmetic of a model, done at
compile time.

An element is an int, or a symbol: the name of a dim ("batch"), or an axis of a value whose dim has no name.
Elements that are neither are unknown. Everything here follows ONNX's definition of the operators on such
tensors (rank 0 and 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import IntegerType, TensorType
from xdsl.ir import OpResult, SSAValue

from dsc.ir import Graph, OnnxOp, dims_of, element_of, shape_of
from dsc.ir.numbers import sliced, stored, truncated_quotient
from dsc.passes.canonicalize.facts import rank

MAX_ELEMENTS = 64
"""Larger tensors are no shapes."""

Symbol: TypeAlias = str | tuple[SSAValue, int]
Element: TypeAlias = int | Symbol | None
"""None: not known."""


@dataclass(frozen=True)
class Elements:
    """The elements of a tensor of rank 0 (`scalar`) or 1."""

    items: tuple[Element, ...]
    scalar: bool = False

    @property
    def known(self) -> list[int] | None:
        """All elements, when all are numbers."""
        numbers = [i for i in self.items if isinstance(i, int)]
        return numbers if len(numbers) == len(self.items) else None

    def array(self, dtype: np.dtype) -> np.ndarray | None:
        """As an array, when all elements are numbers."""
        known = self.known
        if known is None:
            return None
        return np.array(known[0] if self.scalar else known, dtype)

    def in_type(self, dtype: np.dtype) -> Elements:
        """As a tensor of an integer type holds them: numbers wrap, and of a dim it is not known whether it fits into
        less than 32 bits.
        """
        wide = dtype in (np.int32, np.int64)
        items = tuple(int(stored(i, dtype)) if isinstance(i, int) else i if wide else None for i in self.items)
        return Elements(items, self.scalar)


@dataclass
class ShapeValues:
    """Finds the elements of values, each once."""

    graph: Graph
    _found: dict[SSAValue, Elements | None] = field(default_factory=dict)

    def of(self, value: SSAValue | None) -> Elements | None:
        """The elements of a value; None when it is no small tensor of integers, or nothing is known of it.

        Values must be asked for in the order in which they are made, so that no deep recursion is needed.
        """
        if value is None:
            return None
        if value not in self._found:
            self._found[value] = self._compute(value)
        return self._found[value]

    def forget(self) -> None:
        """Start again: types have changed."""
        self._found.clear()

    def _compute(self, value: SSAValue) -> Elements | None:
        if not _may_be_shape(value):
            return None
        constant = self.graph.constant(value)
        if constant is not None:
            return Elements(tuple(int(v) for v in constant.reshape(-1)), constant.ndim == 0)
        if not isinstance(value, OpResult) or not isinstance(value.op, OnnxOp):
            return None
        rule = _RULES.get(value.op.onnx_name)
        found = rule(self, value.op) if rule else None
        is_scalar = rank(value) == 0
        if found is None or (is_scalar and len(found.items) != 1):
            return None
        return replace(found.in_type(element_of(value.type).dtype), scalar=is_scalar)  # rules need not tell [3] from 3


def dims_as_elements(value: SSAValue) -> list[Element] | None:
    """The dims of a tensor as elements; nameless ones are symbols of their own."""
    dims = dims_of(value.type)
    return None if dims is None else [(value, i) if d == "" else d for i, d in enumerate(dims)]


def _may_be_shape(value: SSAValue) -> bool:
    type_, shape = value.type, shape_of(value.type)
    if not isinstance(type_, TensorType) or not isinstance(type_.element_type, IntegerType) or shape is None:
        return False
    return len(shape) <= 1 and type_.element_type.width.data > 1 and (not shape or shape[0] <= MAX_ELEMENTS)


_Compute = Callable[[ShapeValues, OnnxOp], Elements | None]
_RULES: dict[str, _Compute] = {}


def _of(*names: str) -> Callable[[_Compute], _Compute]:
    def declare(compute: _Compute) -> _Compute:
        _RULES.update(dict.fromkeys(names, compute))
        return compute

    return declare


@_of("Shape")
def _shape(values: ShapeValues, op: OnnxOp) -> Elements | None:
    dims = dims_as_elements(op.data)
    return None if dims is None else Elements(tuple(dims[op.attr("start", 0) : op.attr("end", None)]))


@_of("Size")
def _size(values: ShapeValues, op: OnnxOp) -> Elements | None:
    shape = shape_of(op.data.type)
    if shape is None or min(shape, default=0) < 0:
        return None
    return Elements((int(np.prod(shape, dtype=np.int64)),), scalar=True)


@_of("Identity", "Cast")
def _same(values: ShapeValues, op: OnnxOp) -> Elements | None:
    return values.of(op.input)


@_of("Squeeze")
def _squeeze(values: ShapeValues, op: OnnxOp) -> Elements | None:
    found = values.of(op.data)
    return Elements(found.items, scalar=True) if found and len(found.items) == 1 else None


@_of("Unsqueeze", "Reshape")
def _as_vector(values: ShapeValues, op: OnnxOp) -> Elements | None:
    found = values.of(op.data)
    return Elements(found.items, scalar=rank(op.out) == 0) if found else None


@_of("Gather")
def _gather(values: ShapeValues, op: OnnxOp) -> Elements | None:
    data, indices = values.of(op.data), values.of(op.indices)
    if data is None or data.scalar or indices is None or (known := indices.known) is None:
        return None
    if any(not -len(data.items) <= i < len(data.items) for i in known):
        return None
    return Elements(tuple(data.items[i] for i in known), indices.scalar)


@_of("Slice")
def _slice(values: ShapeValues, op: OnnxOp) -> Elements | None:
    data = values.of(op.data)
    bounds = [values.of(v) for v in (op.starts, op.ends)]
    steps = [1] if op.steps is None else (values.of(op.steps) or Elements((None,))).known
    if data is None or data.scalar or steps is None or any(b is None or b.known is None for b in bounds):
        return None
    if not any(b.items for b in bounds if b is not None):
        return data
    start, end = ((b.known or [0])[0] for b in bounds if b is not None)
    if steps[0] == 0:
        return None
    return Elements(tuple(data.items[i] for i in sliced(start, end, steps[0], len(data.items))))


@_of("Concat")
def _concat(values: ShapeValues, op: OnnxOp) -> Elements | None:
    items: list[Element] = []
    for part in op.inputs:
        found, shape = values.of(part), shape_of(part.type)
        if found is not None:
            items.extend(found.items)
        elif shape is not None and len(shape) == 1 and 0 <= shape[0] <= MAX_ELEMENTS:
            items.extend([None] * shape[0])
        else:
            return None
    return Elements(tuple(items)) if len(items) <= MAX_ELEMENTS else None


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": truncated_quotient,
    "Min": min,
    "Max": max,
}


@_of(*_ARITHMETIC)
def _arithmetic(values: ShapeValues, op: OnnxOp) -> Elements | None:
    operands = [values.of(v) for v in op.operands]
    if len(operands) != 2:
        return None
    a, b = operands
    if a is None or b is None:
        return None
    size = max(len(a.items), len(b.items))
    if not size or any(len(e.items) not in (1, size) for e in (a, b)):
        return None
    pairs = zip(a.items * (size // len(a.items) or 1), b.items * (size // len(b.items) or 1), strict=True)
    return Elements(tuple(_binary(op.onnx_name, x, y) for x, y in pairs), a.scalar and b.scalar)


def _binary(name: str, a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return None if name == "Div" and b == 0 else _ARITHMETIC[name](a, b)
    if a is None or b is None:
        return None
    match name, a, b:
        case ("Mul" | "Div", _, 1) | ("Add" | "Sub", _, 0):
            return a
        case ("Mul", 1, _) | ("Add", 0, _):
            return b
        case "Sub", _, _ if a == b:
            return 0
        case (("Min" | "Max"), _, _) if a == b:
            return a
    return None


@_of("Where")
def _where(values: ShapeValues, op: OnnxOp) -> Elements | None:
    condition = _comparison(values, op.condition)
    yes, no = values.of(op.X), values.of(op.Y)
    if condition is None or yes is None or no is None:
        return None
    size = len(condition)
    if any(len(e.items) not in (1, size) for e in (yes, no)):
        return None
    chosen = [
        (yes if c else no).items[i % len((yes if c else no).items)] if c is not None else None
        for i, c in enumerate(condition)
    ]
    return Elements(tuple(chosen))


def _comparison(values: ShapeValues, condition: SSAValue) -> list[bool | None] | None:
    """Elements of `Equal(shape, constant)`: a dim is never negative, so that it is not -1."""
    constant = values.graph.constant(condition)
    if constant is not None:
        return [bool(v) for v in constant.reshape(-1)] if constant.ndim <= 1 else None
    if not isinstance(condition, OpResult) or condition.op.name != "onnx.Equal":
        return None
    a, b = (values.of(v) for v in condition.op.operands)
    if a is None or b is None or len(a.items) != len(b.items):
        return None
    return [_equal(x, y) for x, y in zip(a.items, b.items, strict=True)]


def _equal(a: Element, b: Element) -> bool | None:
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if a == b:
        return True
    numbers = [n for n in (a, b) if isinstance(n, int)]
    return False if numbers and numbers[0] < 0 else None


@_of("ConstantOfShape")
def _filled(values: ShapeValues, op: OnnxOp) -> Elements | None:
    shape = shape_of(op.out.type)
    if shape is None or len(shape) != 1 or shape[0] < 0:
        return None
    fill = op.attr("value")
    return Elements((int(fill.reshape(-1)[0]) if fill is not None else 0,) * shape[0])


@_of("ReduceProd")
def _product(values: ShapeValues, op: OnnxOp) -> Elements | None:
    found = values.of(op.data)
    if found is None or found.scalar or rank(op.out) not in (0, 1):
        return None
    axes = values.of(op.axes)
    if op.axes is not None and (axes is None or axes.known is None):
        return None
    if op.attr("noop_with_empty_axes", 0) and (axes is None or not axes.items):
        return found
    total: Element = 1
    for item in found.items:
        total = _binary("Mul", total, item)
    return Elements((total,), scalar=rank(op.out) == 0)
