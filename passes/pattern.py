"""Patterns: symbolic expressions over onnx ops that read like the maths (see matcher.py).

>>> x, w = values("x w")
>>> ops.Conv(x, w, maybe("b"), label="conv") * const("scale")

Operators build patterns too: `+ - * / @ **` and unary minus. Add and Mul match in both orders. A number matches a
constant that has exactly this value everywhere: an int (0 is any zero), or a float with the sign of its zero.
`rounded(math.sqrt(2))` matches what is left of a number that no float is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, TypeAlias

from dsc.ir import OPERATORS, Fact

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
class Rounded(Pattern):
    """A constant that stands for `number`, which its element type cannot hold, everywhere: see `is_rounded`."""

    number: float


@dataclass(frozen=True, eq=False)
class Maybe(Pattern):
    """An optional operand; when it is absent, `name` is captured as None."""

    pattern: Value | Const


@dataclass(frozen=True, eq=False)
class Either(Pattern):
    """The first of these that matches."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, eq=False)
class OpPattern(Pattern):
    """An op of one of these ONNX names. Operands are matched by position; `...` at the end takes any
    others."""

    names: Collection[str]
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

    def being(self, fact: Fact) -> _Maker:
        """An op of which `fact` is true, those of plugins included."""
        return _Maker(OPERATORS[fact])


@dataclass(frozen=True)
class _Maker:
    names: Collection[str]

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


def rounded(number: float) -> Rounded:
    """What exporters write for a number that no float is: a root, a sixth, 0.044715."""
    return Rounded(number)


def maybe(pattern: str | Value | Const) -> Maybe:
    """An operand that may be absent."""
    return Maybe(Value(pattern) if isinstance(pattern, str) else pattern)


def either(*patterns: Pattern) -> Either:
    """One of several patterns, tried in order."""
    return Either(patterns)


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
