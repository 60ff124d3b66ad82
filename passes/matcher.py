"""The matcher: whether a pattern matches at an op, and what it captures. Commutative ops are tried in both orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import ml_dtypes
import numpy as np
from xdsl.ir import Operation, OpResult, SSAValue

from dsc.ir import Fact, Graph, OnnxOp, has
from dsc.passes.pattern import Const, Either, Maybe, Operand, OpPattern, Pattern, Rounded, Value


@dataclass
class Binding:
    """What a pattern captured: values and ops by name, the matched ops, and constants that must not be
    shared."""

    names: dict[str, SSAValue | Operation | None] = field(default_factory=dict)
    matched: tuple[OnnxOp, ...] = ()
    owned: tuple[str, ...] = ()

    def copy(self) -> Binding:
        """A copy, for a choice that may be taken back."""
        return Binding(dict(self.names), self.matched, self.owned)


_Goal: TypeAlias = "tuple[Operand, SSAValue | None]"


@dataclass
class Matcher:
    """Matches patterns at ops of one graph. `miss`: how far the best failed attempt came, and why it
    failed."""

    graph: Graph
    miss: tuple[int, str] = (0, "")

    def match(self, pattern: Pattern, op: OnnxOp) -> Binding | None:
        """The binding of the first match with its root at `op`, or None."""
        self.miss = (0, "")
        return self._solve([(pattern, op.results[0])], Binding())

    def _solve(self, goals: list[_Goal], binding: Binding) -> Binding | None:
        """Satisfy all goals, the first one first, trying the choices of each in turn."""
        if not goals:
            return binding
        (pattern, found), rest = goals[0], goals[1:]
        match pattern:
            case OpPattern():
                return self._op(pattern, found, rest, binding)
            case Either():
                tried = (self._solve([(p, found), *rest], binding.copy()) for p in pattern.patterns)
                return next((b for b in tried if b is not None), None)
            case Maybe() if found is None:
                binding.names[pattern.pattern.name] = None
            case Maybe():
                return self._solve([(pattern.pattern, found), *rest], binding)
            case Value():
                if found is None or binding.names.setdefault(pattern.name, found) is not found:
                    return None
            case Const():
                if found is None or not self._const(pattern, found, binding):
                    return None
            case Rounded():
                if found is None or not self._everywhere(found, partial(is_rounded, number=pattern.number)):
                    return None
            case float() | int():
                if found is None or not self._everywhere(found, partial(is_exactly, number=pattern)):
                    return None
        return self._solve(rest, binding)

    def _op(self, pattern: OpPattern, found: SSAValue | None, rest: list[_Goal], binding: Binding) -> Binding | None:
        if not isinstance(found, OpResult) or found.index != pattern.result:
            return None
        op = found.op
        if not isinstance(op, OnnxOp) or op.onnx_name not in pattern.names:
            return None
        if any(op.attr(name) != wanted for name, wanted in pattern.attributes.items()):
            return None
        if pattern.label and binding.names.setdefault(pattern.label, op) is not op:
            return None
        binding.matched = (*binding.matched, op)
        for goals in _operand_goals(pattern, op):
            solved = self._solve([*goals, *rest], binding.copy())
            if solved is not None:
                return solved
        return None

    def _const(self, pattern: Const, found: SSAValue, binding: Binding) -> bool:
        array = self.graph.constant(found)
        if array is None:
            return self._fail(binding, f"{pattern.name} is not constant")
        if pattern.scalar and array.size != 1:
            return self._fail(binding, f"{pattern.name} is not a scalar")
        if pattern.owned:
            binding.owned = (*binding.owned, pattern.name)
        return binding.names.setdefault(pattern.name, found) is found

    def _everywhere(self, found: SSAValue, accept: Callable[[np.ndarray], bool]) -> bool:
        """Whether a value is a constant of one number everywhere, which is accepted."""
        array = self.graph.constant(found)
        if array is None or array.size == 0 or array.dtype.kind in "OUS":
            return False
        first = np.asarray(array.flat[0])
        # Most weights are told by their first element: only that is read.
        return accept(first) and bool(np.all(array == first)) and bool(np.all(np.signbit(array) == np.signbit(first)))

    def _fail(self, binding: Binding, reason: str) -> bool:
        if len(binding.matched) > self.miss[0]:
            self.miss = (len(binding.matched), reason)
        return False


def is_exactly(found: np.ndarray, number: float) -> bool:
    """Whether the one element of `found` is `number`; a zero that is a float has its sign: ``x + 0.0`` is not x."""
    value = found.item()
    if isinstance(value, float) and isinstance(number, float) and math.copysign(1, value) != math.copysign(1, number):
        return False
    return bool(value == number)


_DIGITS = {4: 1e-6, 8: 1e-12}
"""How exactly exporters write decimal numbers, by the bytes of the type; shorter types are exact to their last bit."""


def is_rounded(found: np.ndarray, number: float) -> bool:
    """Whether the one element of `found` is what is left of `number` in its type of floats.

    For numbers that no float is, such as roots; never for neutral elements, whose neighbours are no neutral elements.
    """
    if found.dtype.kind in "biu":
        return False
    tolerance = _DIGITS.get(found.dtype.itemsize) or float(ml_dtypes.finfo(found.dtype).eps)  # type: ignore[no-untyped-call]
    return bool(abs(float(found.item()) - number) <= tolerance * abs(number))


def _operand_goals(pattern: OpPattern, op: OnnxOp) -> Iterator[list[_Goal]]:
    """The ways in which an op's operands can be given to those of the pattern."""
    wanted, given = list(pattern.operands), list(op.node_inputs())
    if wanted and wanted[-1] is ...:
        wanted.pop()
        given = given[: len(wanted)]
    given += [None] * (len(wanted) - len(given))
    if len(given) != len(wanted):
        return
    yield list(zip(wanted, given, strict=True))
    if len(given) == 2 and has(op, Fact.COMMUTATIVE):
        yield list(zip(wanted, reversed(given), strict=True))
