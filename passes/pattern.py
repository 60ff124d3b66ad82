"""Patterns: symbolic expressions over onnx ops that read like the maths, and the matcher for them.

>>> x, w = values("x w")
>>> ops.Conv(x, w, maybe("b"), label="conv") * const("scale")

Operators build patterns too: `+ - * / @ **` and unary minus. Add and Mul match in both orders; a number
matches a constant that has this value everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from xdsl.ir import Operation, OpResult, SSAValue

from dsc.ir import Graph, OnnxOp

_COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "Sum", "And", "Or", "Xor", "Equal"})

Operand: TypeAlias = "Pattern | float | EllipsisType"


class Pattern:
    """A symbolic expression. Arithmetic on it gives the pattern of the ONNX op."""

    def __add__(self, other: Operand) -> OpPattern:
        return OpPattern(("Add",), (self, other))

    def __radd__(self, other: Operand) -> OpPattern:
        return OpPattern(("Add",), (other, self))

    def __sub__(self, other: Operand) -> OpPattern:
        return OpPattern(("Sub",), (self, other))

    def __rsub__(self, other: Operand) -> OpPattern:
        return OpPattern(("Sub",), (other, self))

    def __mul__(self, other: Operand) -> OpPattern:
        return OpPattern(("Mul",), (self, other))

    def __rmul__(self, other: Operand) -> OpPattern:
        return OpPattern(("Mul",), (other, self))

    def __truediv__(self, other: Operand) -> OpPattern:
        return OpPattern(("Div",), (self, other))

    def __rtruediv__(self, other: Operand) -> OpPattern:
        return OpPattern(("Div",), (other, self))

    def __pow__(self, other: Operand) -> OpPattern:
        return OpPattern(("Pow",), (self, other))

    def __matmul__(self, other: Operand) -> OpPattern:
        return OpPattern(("MatMul",), (self, other))

    def __neg__(self) -> OpPattern:
        return OpPattern(("Neg",), (self,))


@dataclass(frozen=True, eq=False)
class Value(Pattern):
    """Any value, captured by name; the same name matches the same value only."""

    name: str


@dataclass(frozen=True, eq=False)
class Const(Pattern):
    """A constant, captured by name. `scalar`: of one element. `owned`: used by the matched ops only."""

    name: str
    scalar: bool = False
    owned: bool = False


@dataclass(frozen=True, eq=False)
class Maybe(Pattern):
    """An optional operand; when it is absent, `name` is captured as None."""

    pattern: Value | Const


@dataclass(frozen=True, eq=False)
class Literal(Pattern):
    """A constant whose elements all have this value, up to the rounding of its dtype."""

    number: float


@dataclass(frozen=True, eq=False)
class Either(Pattern):
    """The first of these that matches."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, eq=False)
class OpPattern(Pattern):
    """An op of one of these ONNX names. Operands are matched by position; `...` at the end takes any
    others."""

    names: tuple[str, ...]
    operands: tuple[Operand, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    result: int = 0


class _Ops:
    """`ops.Conv(x, w, label="conv", group=1)` is the pattern of a Conv; `ops.any("Relu", "Tanh")(x)` of
    either op."""

    def __getattr__(self, name: str) -> _Maker:
        return _Maker((name,))

    def any(self, *names: str) -> _Maker:
        """An op of one of these names."""
        return _Maker(names)


@dataclass(frozen=True)
class _Maker:
    names: tuple[str, ...]

    def __call__(
        self, *operands: Operand, label: str | None = None, result: int = 0, **attributes: object
    ) -> OpPattern:
        return OpPattern(self.names, operands, attributes, label, result)


ops = _Ops()


def value(name: str) -> Value:
    """Any value."""
    return Value(name)


def values(names: str) -> tuple[Value, ...]:
    """Any values: `x, w = values("x w")`."""
    return tuple(Value(name) for name in names.split())


def const(name: str, *, owned: bool = False) -> Const:
    """A constant; `owned` when the rule makes a new one of it, so that a shared weight is not duplicated."""
    return Const(name, owned=owned)


def scalar(name: str) -> Const:
    """A constant of one element."""
    return Const(name, scalar=True)


def maybe(pattern: str | Value | Const) -> Maybe:
    """An operand that may be absent."""
    return Maybe(Value(pattern) if isinstance(pattern, str) else pattern)


def either(*patterns: Pattern) -> Either:
    """One of several patterns, tried in order."""
    return Either(patterns)


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
            case Literal():
                if found is None or not self._literal(pattern.number, found):
                    return None
            case float() | int():
                if found is None or not self._literal(pattern, found):
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

    def _literal(self, number: float, found: SSAValue) -> bool:
        array = self.graph.constant(found)
        if array is None or array.size == 0 or array.dtype.kind in "OUS":
            return False
        return close(array.flat[0], number, array.dtype) and bool(np.all(array == array.flat[0]))

    def _fail(self, binding: Binding, reason: str) -> bool:
        if len(binding.matched) > self.miss[0]:
            self.miss = (len(binding.matched), reason)
        return False


def close(found: Any, number: float, dtype: np.dtype[Any]) -> bool:
    """Whether a constant of this dtype is `number` up to rounding."""
    if dtype.kind in "biu":
        return bool(found == number)
    tolerance = {2: 8e-3, 4: 1e-6, 8: 1e-12}.get(dtype.itemsize, 0.1)
    return abs(float(found) - number) <= tolerance * abs(number)


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
    if len(given) == 2 and op.onnx_name in _COMMUTATIVE:
        yield list(zip(wanted, reversed(given), strict=True))


def roots(pattern: Pattern) -> frozenset[str]:
    """The ONNX names of the ops at which a pattern can match."""
    if isinstance(pattern, OpPattern):
        return frozenset(pattern.names)
    if isinstance(pattern, Either):
        return frozenset().union(*(roots(p) for p in pattern.patterns))
    raise TypeError(f"a rule's pattern starts with an op, not with {pattern}")


def depth(pattern: Operand) -> int:
    """How many ops a pattern has at least: a refusal with fewer matched is no near miss."""
    if isinstance(pattern, OpPattern):
        return 1 + sum(depth(p) for p in pattern.operands)
    if isinstance(pattern, Either):
        return min(depth(p) for p in pattern.patterns)
    return 0
