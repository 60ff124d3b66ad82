"""What an operator takes for granted of sizes, as data: checked when a model is compiled, or before it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypeVar

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Expr, Range
from xdsl.ir import Operation

from dsc.lower.exprs import Dim, Scalar, dims, factors, is_natural, product, same, simplify
from dsc.lower.registry import Call, MisfitError

_MOST = 1 << 48
"""More than any size."""
_MEMORY = 1 << 46
"""Bytes that no memory has."""
_LARGE = 1 << 16
"""A constant factor that makes the bytes of one dim worth a check."""


class Relation(Enum):
    """What must hold of two sizes, as a message says it of `what` the sizes are."""

    EQUAL = "must be equal, not {left} and {right}"
    BROADCAST = "must be equal, or one of them 1, not {left} and {right}"
    AT_MOST = "must be at most {right}, not {left}"
    AT_LEAST = "must be at least {right}, not {left}"
    MULTIPLE = "must be a multiple of {right}, not {left}"


@dataclass(frozen=True)
class Requirement:
    """`left` and `right`, sizes in terms of variables, are in a relation."""

    left: Scalar
    relation: Relation
    right: Scalar
    what: str
    """What the sizes are, for messages: "the inner dims of A and B"."""

    @property
    def text(self) -> str:
        """The message, with places for ``{left}`` and ``{right}``."""
        return f"{self.what} {self.relation.value}"

    def condition(self) -> Expr:
        """What must hold at run time."""
        left, right = (expression(side) for side in (self.left, self.right))
        if self.relation is Relation.EQUAL:
            return left.equal(right)
        if self.relation is Relation.AT_MOST:
            return tirx.LE(left, right)
        if self.relation is Relation.AT_LEAST:
            return tirx.GE(left, right)
        if self.relation is Relation.MULTIPLE:
            return tirx.floormod(left, right).equal(tirx.const(0, "int64"))
        one = tirx.const(1, "int64")
        repeated = [tirx.And(a.equal(one), tirx.GE(b, one)) for a, b in ((left, right), (right, left))]
        return tirx.Or(left.equal(right), tirx.Or(*repeated))

    def decided(self) -> bool | None:
        """Whether it holds, where that can be told without knowing the variables, which are not negative."""
        if self.relation in (Relation.EQUAL, Relation.BROADCAST) and same(self.left, self.right):
            return True
        if self.relation is Relation.AT_LEAST and self.right == 0 and is_natural(self.left):
            return True
        condition = self.condition()
        analyzer = sym.Analyzer()
        for variable in tirx.analysis.undefined_vars(condition):
            analyzer.bind(variable, Range(0, tirx.const(_MOST, "int64")))
        verdict = simplify(analyzer.simplify(condition))
        return verdict if isinstance(verdict, bool) else None

    def mapped(self, function: Callable[[Scalar], Scalar]) -> Requirement:
        """The same of other sizes."""
        return Requirement(function(self.left), self.relation, function(self.right), self.what)


Required: TypeAlias = tuple[str, Requirement]
"""What has a requirement, and the requirement."""
Requirements: TypeAlias = Iterable[Requirement]
Rule: TypeAlias = Callable[[Call], Requirements]
"""Of an op and its operands: what must hold for its lowering to stay inside of them."""

RULES: dict[str, Rule] = {}
F = TypeVar("F", bound=Rule)


def requires(*op_types: type[Operation]) -> Callable[[F], F]:
    """Registers a function as what `op_types` require."""

    def register(rule: F) -> F:
        for op_type in op_types:
            RULES[op_type.name] = rule
        return rule

    return register


def located(op: Operation) -> str:
    """An op and its node, for messages."""
    node = getattr(op.attributes.get("node"), "data", "")
    name = op.name.removeprefix("onnx.")
    return f"{name} (node {node!r})" if node else name


def undecided(op: Operation, requirements: Iterable[Requirement]) -> list[Requirement]:
    """What remains to be checked at run time of what `op` requires. Raises MisfitError for what cannot hold."""
    left: list[Requirement] = []
    for requirement in requirements:
        decided = requirement.decided()
        if decided is False:
            text = requirement.text.replace("{left}", str(requirement.left)).replace("{right}", str(requirement.right))
            raise MisfitError(text, op)
        if decided is None:
            left.append(requirement)
    return left


def equal(left: Scalar, right: Scalar, what: str) -> Requirement:
    """Two sizes agree."""
    return Requirement(left, Relation.EQUAL, right, what)


def at_most(left: Scalar, right: Scalar, what: str) -> Requirement:
    """A size has an upper limit."""
    return Requirement(left, Relation.AT_MOST, right, what)


def at_least(left: Scalar, right: Scalar, what: str) -> Requirement:
    """A size has a lower limit."""
    return Requirement(left, Relation.AT_LEAST, right, what)


def multiple(left: Scalar, right: Scalar, what: str) -> Requirement:
    """A size is divided without a rest."""
    return Requirement(left, Relation.MULTIPLE, right, what)


def shape_of(tensor: te.Tensor) -> list[Dim]:
    """The sizes of a tensor."""
    return dims(tensor.shape)


def same_shape(left: Sequence[Dim], right: Sequence[Dim], what: str) -> Iterator[Requirement]:
    """Two shapes agree, axis by axis; ranks too."""
    yield equal(len(left), len(right), f"the ranks of {what}")
    for axis, (a, b) in enumerate(zip(left, right, strict=False)):
        yield equal(a, b, f"dim {axis} of {what}")


def broadcast(*shapes: Sequence[Dim]) -> Iterator[Requirement]:
    """Shapes are repeated to a common one, numpy's way."""
    for position, shape in enumerate(shapes):
        for other in shapes[:position]:
            for axis in range(-min(len(shape), len(other)), 0):
                yield from _meeting(other[axis], shape[axis], f"dims {axis} of its operands")


def _meeting(a: Dim, b: Dim, what: str) -> Iterator[Requirement]:
    """Two dims broadcast. Where both are free, an empty one is not repeated: `dsc.lower.tensors` takes the larger."""
    fixed = [d for d in (a, b) if isinstance(d, int)]
    if 0 in fixed:
        yield at_most(b if a == 0 else a, 1, what)
    elif 1 not in fixed:
        yield Requirement(a, Relation.BROADCAST, b, what)


def one_way(shape: Sequence[Dim], target: Sequence[Dim], what: str) -> Iterator[Requirement]:
    """`shape` is repeated to `target`, which stays as it is."""
    yield at_most(len(shape), len(target), f"the rank of {what}")
    for axis in range(-min(len(shape), len(target)), 0):
        size, wanted = shape[axis], target[axis]
        where = f"dim {axis} of {what} and of what it belongs to"
        if isinstance(size, int):
            if size != 1:
                yield equal(size, wanted, where)
        elif not (isinstance(wanted, int) and wanted == 0):
            yield from _meeting(size, wanted, where)
            yield at_most(size, wanted, where)


def of_result(shape: Sequence[Dim], bits: int) -> Iterator[Requirement]:
    """Sizes of a result that are computed are no negative numbers, and as many bytes as memory may have."""
    for axis, size in enumerate(shape):
        if not is_natural(size):
            yield at_least(size, 0, f"dim {axis} of its result")
    number, expressions = factors(shape)
    known = number * max(1, bits // 8)
    if len(expressions) > 1 or (expressions and known > _LARGE) or known > _MEMORY:
        # in floating point, as the product of integers may overflow
        size = product([tirx.const(float(known), "float64"), *(tirx.Cast("float64", d) for d in expressions)])
        yield at_most(size, tirx.const(float(_MEMORY), "float64"), "the bytes of its result")


def of_divisions(values: Iterable[Scalar]) -> Iterator[Requirement]:
    """What sizes are divided by is not 0."""
    divisors: list[Expr] = []

    def visit(node: tirx.FloorDiv, visitor: tvm_ffi.structural.StructuralVisitor) -> None:
        if not isinstance(node.b, tirx.IntImm):
            divisors.append(node.b)
        visitor.default_visit(node)

    for value in values:
        if isinstance(value, Expr):
            tvm_ffi.structural_visit(value, [(DIVISIONS, visit)])
    for divisor in divisors:
        yield at_least(divisor, 1, "a size that others are divided by")


DIVISIONS = (tirx.FloorDiv, tirx.FloorMod)


def expression(value: Scalar) -> Expr:
    """A number as an expression; counts of bytes are floats."""
    if isinstance(value, Expr):
        return value
    return tirx.const(value, "float64" if isinstance(value, float) else "int64")
