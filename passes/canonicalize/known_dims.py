"""Dims of results that follow from shape arithmetic, where ONNX's inference sees only a shape it does not
know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import TypeAlias

from dsc.ir import Fact, OnnxOp, dims_of, has
from dsc.passes.canonicalize.shape_values import Element, Elements, ShapeValues

Dims: TypeAlias = "list[int | str] | None"


def known_dims(op: OnnxOp, values: ShapeValues) -> Dims:
    """The dims of the first result as far as they are known ("" for the rest); None when nothing is."""
    rule = _elementwise if has(op, Fact.BROADCASTS) else _RULES.get(op.onnx_name)
    return rule(op, values) if rule else None


def _dim(item: Element) -> int | str:
    if isinstance(item, int):
        return item if item >= 0 else ""
    return item if isinstance(item, str) else ""


def _reshape(op: OnnxOp, values: ShapeValues) -> Dims:
    found, source = values.of(op.shape), dims_of(op.data.type)
    if found is None:
        return None
    items = list(found.items)
    for i, item in enumerate(items):
        if item == 0 and not op.attr("allowzero"):
            items[i] = (source[i] or None) if source is not None and i < len(source) else None
    if source is not None:
        _solve_rest(list(source), items)
    return [_dim(item) for item in items]


def _solve_rest(source: list[int | str], items: list[Element]) -> None:
    """Work out the dim that is -1: the names on both sides cancel, and what is left are numbers."""
    rest = [i for i, item in enumerate(items) if item == -1]
    others = [item for i, item in enumerate(items) if i not in rest]
    if len(rest) != 1 or "" in source or not all(isinstance(o, int | str) for o in others):
        return
    have = Counter(d for d in source if isinstance(d, str))
    have.subtract(o for o in others if isinstance(o, str))
    names = [name for name, count in have.items() if count]
    numbers = prod(d for d in source if isinstance(d, int)), prod(o for o in others if isinstance(o, int))
    if not numbers[1] or numbers[0] % numbers[1]:
        return
    quotient = numbers[0] // numbers[1]
    if not names:
        items[rest[0]] = quotient
    elif quotient == 1 and len(names) == 1 and have[names[0]] == 1:
        items[rest[0]] = names[0]


def _expand(op: OnnxOp, values: ShapeValues) -> Dims:
    found, source = values.of(op.shape), dims_of(op.input.type)
    if found is None or source is None:
        return None
    size = max(len(source), len(found.items))
    given = (1,) * (size - len(source)) + source
    wanted = (1,) * (size - len(found.items)) + found.items
    return [_broadcast(g, _dim(w)) for g, w in zip(given, wanted, strict=True)]


def _constant_of_shape(op: OnnxOp, values: ShapeValues) -> Dims:
    found = values.of(op.input)
    return None if found is None else [_dim(item) for item in found.items]


def _range(op: OnnxOp, values: ShapeValues) -> Dims:
    start, limit, delta = (values.of(v) for v in (op.start, op.limit, op.delta))
    if start is None or limit is None or delta is None or start.known != [0] or delta.known != [1]:
        return None
    return [_dim(limit.items[0])]


def _slice(op: OnnxOp, values: ShapeValues) -> Dims:
    """Dims that are not sliced stay; one from 0 to a named dim n of a known size k has min(k, n)."""
    source, axes, starts, ends = (
        dims_of(op.data.type),
        values.of(op.axes),
        values.of(op.starts),
        values.of(op.ends),
    )
    if source is None or axes is None or axes.known is None:
        return None
    dims = list(source)
    steps = values.of(op.steps) or Elements((1,) * len(axes.items))
    for i, axis in enumerate(axes.known):
        start, end = (e.items[i] if e is not None else None for e in (starts, ends))
        size = dims[axis]
        plain = start == 0 and steps.items[i] == 1
        if plain and isinstance(end, str) and end == size:
            continue
        dims[axis] = f"min({size},{end})" if plain and isinstance(end, str) and isinstance(size, int) and size else ""
    return dims


def _elementwise(op: OnnxOp, values: ShapeValues) -> Dims:
    shapes = [dims_of(v.type) for v in op.operands]
    known = [s for s in shapes if s is not None]
    if len(known) != len(shapes) or not known:
        return None
    size = max(map(len, known))
    result: tuple[int | str, ...] = (1,) * size
    for shape in known:
        padded = (1,) * (size - len(shape)) + shape
        result = tuple(_broadcast(a, b) for a, b in zip(result, padded, strict=True))
    return list(result)


def _broadcast(a: int | str, b: int | str) -> int | str:
    """The dim of two that broadcast, "" when it cannot be told."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int) and one > 1:
            return one  # the other is 1 or the same
        # min(k, n) with n: if n is 1 so is the minimum, and otherwise only n = min(k, n) broadcasts
        if one and str(other).startswith("min(") and str(other).endswith(f",{one})"):
            return one
    return ""


_RULES: dict[str, Callable[[OnnxOp, ShapeValues], Dims]] = {
    "Reshape": _reshape,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Slice": _slice,
    "PRelu": _elementwise,
}
