"""Operators that compute element by element."""

from __future__ import annotations

import numpy as np

from tests.random_graphs.arrays import BOOL, FLOATS, INTEGERS, is_float, random_array
from tests.random_graphs.evaluate import Rejected
from tests.random_graphs.graph import Noise, RandomGraph, Value

EXACT_UNARY = ("Abs", "Neg", "Floor", "Ceil", "Round", "Relu", "Sign", "Identity", "LeakyRelu", "ThresholdedRelu")
FUNCTIONS = (
    "Exp Log Sqrt Reciprocal Sigmoid Tanh Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softplus Softsign "
    "Elu Selu Celu HardSigmoid HardSwish Mish Gelu Shrink"
).split()
DIFFERENCES = ("Elu", "Selu", "Celu", "Gelu", "Shrink", "HardSigmoid", "HardSwish")
PREDICATES = ("IsNaN", "IsInf")
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_PERIODIC_LIMIT = 1e4
"""Beyond it, the argument's own rounding moves a sine by more than it tells."""


def unary(g: RandomGraph) -> None:
    """One operand, all types."""
    value = g.pick(lambda v: v.dtype != BOOL)
    if not is_float(value.dtype) or g.rng.random() < 0.4:
        op = str(g.rng.choice(EXACT_UNARY))
        g.add(op, [value], Noise.RESULT if op == "LeakyRelu" else Noise.NONE)
        return
    op = str(g.rng.choice(FUNCTIONS))
    periodic = op in ("Sin", "Cos", "Tan")
    if periodic and any((np.abs(a[np.isfinite(a)]) > _PERIODIC_LIMIT).any() for a in value.exact):
        raise Rejected
    attributes: dict[str, object] = {}
    if op == "Gelu" and g.rng.random() < 0.5:
        attributes["approximate"] = "tanh"
    if op in ("Elu", "Celu") and g.rng.random() < 0.5:
        attributes["alpha"] = float(g.rng.uniform(0.5, 2))
    g.add(op, [value], Noise.DIFFERENCE if op in DIFFERENCES else Noise.FUNCTION, **attributes)


def predicate(g: RandomGraph) -> None:
    """Not, IsNaN, IsInf and what bits are."""
    if g.rng.random() < 0.4:
        g.add("Not", [g.pick(lambda v: v.dtype == BOOL)], Noise.NONE)
    elif g.rng.random() < 0.5:
        g.add(str(g.rng.choice(PREDICATES)), [g.pick(lambda v: is_float(v.dtype))], Noise.NONE)
    else:
        g.add("BitwiseNot", [g.pick(lambda v: v.dtype.kind in "iu")], Noise.NONE)


def binary(g: RandomGraph) -> None:
    """Two operands that broadcast."""
    left = g.pick(lambda v: v.dtype != BOOL)
    right = partner(g, left)
    if g.rng.random() < 0.5:
        left, right = right, left
    kind = left.dtype.kind
    if kind in "iu":
        op = str(g.rng.choice(["Add", "Sub", "Mul", "Div", "Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor"]))
        if op in ("Div", "Mod"):
            _check_divisor(left, right)
    else:
        op = str(g.rng.choice(["Add", "Add", "Sub", "Mul", "Mul", "Div", "Pow", "Mod", "PRelu"]))
    if op == "PRelu" and any(np.broadcast_shapes(a, b) != a for a, b in zip(left.sizes, right.sizes, strict=True)):
        raise Rejected  # a slope has no more dims than what it is for
    if op == "PRelu" and not right.finite:
        raise Rejected  # both references multiply a zero by the slope, against the definition
    if op == "Pow" and any((a < 0).any() for a in left.exact) and not right.constant:
        raise Rejected  # a number or NaN, as an exponent next to 1 rounds
    attributes = {"fmod": 1} if op == "Mod" and (kind == "f" or g.rng.random() < 0.3) else {}
    noise = {"Mul": Noise.RESULT, "Div": Noise.RESULT, "PRelu": Noise.RESULT, "Pow": Noise.FUNCTION}
    g.add(op, [left, right], noise.get(op, Noise.NONE) if kind == "f" else Noise.NONE, **attributes)


def several(g: RandomGraph) -> None:
    """Max, Min, Sum and Mean of one to three."""
    first = g.pick(lambda v: v.dtype != BOOL)
    rest = [partner(g, first) for _ in range(int(g.rng.integers(0, 3)))]
    op = str(g.rng.choice(["Max", "Min", "Sum", "Mean"]))
    g.add(op, [first, *rest], Noise.NONE if op in ("Max", "Min") else Noise.SUM)


def compare(g: RandomGraph) -> None:
    """A comparison, of booleans too."""
    left = g.pick(lambda _: True)
    right = left if g.rng.random() < 0.15 else partner(g, left)
    op = "Equal" if left.dtype == BOOL else str(g.rng.choice(COMPARISONS))
    g.add(op, [left, right], Noise.NONE)


def logic(g: RandomGraph) -> None:
    """And, Or, Xor."""
    left = g.pick(lambda v: v.dtype == BOOL)
    g.add(str(g.rng.choice(["And", "Or", "Xor"])), [left, partner(g, left)], Noise.NONE)


def where(g: RandomGraph) -> None:
    """One of two by a condition."""
    condition = g.pick(lambda v: v.dtype == BOOL)
    then = g.pick(lambda v: _broadcasts(v, condition))
    g.add("Where", [condition, then, partner(g, then, condition)], Noise.NONE)


def clip(g: RandomGraph) -> None:
    """Limits that are constants, or absent."""
    value = g.pick(lambda v: v.dtype != BOOL)
    low, high = (g.constant(random_array(g.rng, value.dtype, ())) if g.rng.random() < 0.7 else None for _ in "ab")
    g.add("Clip", [value, low, high], Noise.NONE)


def cast(g: RandomGraph) -> None:
    """To another type, within what the specification defines."""
    value = g.pick(lambda _: True)
    to = np.dtype(g.rng.choice([*FLOATS, *INTEGERS, BOOL]))
    if is_float(value.dtype) and to.kind in "iu":
        info = np.iinfo(to)
        for array in value.exact:
            with np.errstate(invalid="ignore"):
                inside = (array.astype(np.float64) > info.min) & (array.astype(np.float64) < float(info.max) / 2)
            if not inside.all():
                raise Rejected  # undefined
    kind = {"bool": 9, "float32": 1, "float64": 11, "float16": 10}
    integer = {"int64": 7, "int32": 6, "int16": 5, "int8": 3, "uint64": 13, "uint32": 12, "uint16": 4, "uint8": 2}
    g.add("Cast", [value], Noise.NONE, to=(kind | integer)[to.name])


def partner(g: RandomGraph, value: Value, other: Value | None = None) -> Value:
    """Something of the same type that broadcasts with `value`: there already, or made."""
    if g.rng.random() < 0.6:
        return g.pick(
            lambda v: v.dtype == value.dtype and _broadcasts(v, value) and (not other or _broadcasts(v, other))
        )
    keep = int(g.rng.integers(0, value.rank + 1))
    dims = [d if d is not None and g.rng.random() < 0.7 else 1 for d in value.dims[value.rank - keep :]]
    return g.random(value.dtype, dims)


def _broadcasts(a: Value, b: Value) -> bool:
    return all(
        x == y or x == 1 or y == 1
        for p, q in zip(a.sizes, b.sizes, strict=True)
        for x, y in zip(p[::-1], q[::-1], strict=False)
    )


def _check_divisor(left: Value, right: Value) -> None:
    """Division by zero, and of the least by -1, stop the process of a reference."""
    lowest = np.iinfo(left.dtype).min
    for dividend, divisor in zip(left.exact, right.exact, strict=True):
        if (divisor == 0).any() or ((dividend == lowest).any() and left.dtype.kind == "i"):
            raise Rejected


TABLE = {unary: 8, predicate: 1, binary: 8, several: 2, compare: 2, logic: 1, where: 2, clip: 1, cast: 2}
