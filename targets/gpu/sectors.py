"""How many pieces of memory warps touch, by the indices of all their lanes: what a device moves, and the simulator
counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tvm import tirx
from tvm.ir import Call, Expr

from dsc.lower.exprs import Dim
from dsc.lower.nominal import NOMINAL, nominal

SAMPLES = 48
"""Warps, or steps of theirs, that are looked at: they stand for all."""

_BINARY: dict[type, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    tirx.Add: np.add,
    tirx.Sub: np.subtract,
    tirx.Mul: np.multiply,
    tirx.Div: np.floor_divide,
    tirx.FloorDiv: np.floor_divide,
    tirx.FloorMod: np.mod,
    tirx.Min: np.minimum,
    tirx.Max: np.maximum,
    tirx.EQ: np.equal,
    tirx.NE: np.not_equal,
    tirx.LT: np.less,
    tirx.LE: np.less_equal,
    tirx.GT: np.greater,
    tirx.GE: np.greater_equal,
    tirx.And: np.logical_and,
    tirx.Or: np.logical_or,
}


def evaluated(expression: Dim, values: Mapping[tirx.Var, np.ndarray]) -> np.ndarray:
    """An expression of integers where its variables have these values, element by element.

    Other variables are sizes, and nominal. What is none of arithmetic and comparisons, as a register, is taken to be 0
    everywhere: it makes no difference between lanes then.
    """
    match expression:
        case int():
            return np.asarray(expression)
        case tirx.IntImm():
            return np.asarray(int(expression.value))
        case tirx.Var():
            return values.get(expression, np.asarray(NOMINAL))
        case tirx.Cast():
            return evaluated(expression.value, values)
        case tirx.Not():
            return np.asarray(np.logical_not(evaluated(expression.a, values)))
        case tirx.Select():
            parts = expression.condition, expression.true_value, expression.false_value
            return np.where(*(evaluated(part, values) for part in parts))
        case Call() if str(getattr(expression.op, "name", "")).endswith("if_then_else"):
            return np.where(*(evaluated(part, values) for part in expression.args))
    combine = _BINARY.get(type(expression))
    if combine is None:
        return np.asarray(0)
    left, right = evaluated(expression.a, values), evaluated(expression.b, values)
    divides = combine in (np.floor_divide, np.mod)
    return combine(left, np.where(right == 0, 1, right) if divides else right)


def holding(conditions: Sequence[Expr], values: Mapping[tirx.Var, np.ndarray], active: np.ndarray) -> np.ndarray:
    """Which of the active lanes are those for which all conditions hold; those on data are taken to."""
    for condition in conditions:
        if all(variable in values for variable in tirx.analysis.undefined_vars(condition)):
            active = np.logical_and(active, evaluated(condition, values) != 0)
    return active


def touched(first: np.ndarray, size: int, active: np.ndarray, sector: int) -> np.ndarray:
    """Pieces of memory of `sector` bytes that each warp touches whose lanes access `size` bytes each.

    first: ``[warps, lanes]``, the first byte of each lane's. active: of the same shape, the lanes that do.
    """
    pieces = np.concatenate([first // sector, (first + size - 1) // sector], axis=1)
    nowhere = pieces.max(initial=0) + 1
    pieces = np.sort(np.where(np.concatenate([active, active], axis=1), pieces, nowhere), axis=1)
    steps = np.count_nonzero(np.diff(pieces, axis=1), axis=1)
    return np.where(active.any(axis=1), steps + active.all(axis=1), 0)


def wanted(first: np.ndarray, size: int, active: np.ndarray, sector: int) -> np.ndarray:
    """Pieces that each warp would touch if what its lanes access, each byte once, lay side by side."""
    nowhere = first.max(initial=0) + 1
    places = np.sort(np.where(active, first, nowhere), axis=1)
    distinct = np.count_nonzero(np.diff(places, axis=1), axis=1) + active.all(axis=1)
    return np.where(active.any(axis=1), -(-distinct * size // sector), 0)


def sampled(count: int) -> np.ndarray:
    """Some numbers below `count`, evenly; all, if they are few."""
    return np.unique(np.linspace(0, count - 1, SAMPLES).astype(np.int64))


def unraveled(position: np.ndarray, sizes: Sequence[Dim]) -> list[np.ndarray]:
    """The indices of positions along axes of these sizes, the last of which varies fastest."""
    found = []
    for i, size in enumerate(sizes):
        inner = math.prod(map(nominal, sizes[i + 1 :]))
        found.append(position // inner % nominal(size) if i else position // inner)
    return found
