"""Products of bytes with zero points, in terms of the bytes: ``sum over k of (a - za) (b - zb)`` (ONNX, MatMulInteger,
ConvInteger and their kin).

Instructions multiply bytes, and a byte less its zero point has nine bits. But the sums are those of ``a b``, less
``zb`` times the sum of a row of `a`, less ``za`` times the sum of a column of `b`, and more ``za zb`` for each step of
the depth. Padding is 0 with its zero point taken off already: as a byte it is ``za``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tvm import te, tirx
from tvm.ir import Call, Expr

from dsc.lower.exprs import dims
from dsc.lower.nominal import nominal
from dsc.targets.cpu.inline import Inliner, Leaf
from dsc.targets.gpu.access import Access, ranges, replaced, uses
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.kernel import Refusal

BYTES = ("int8", "uint8")


@dataclass(frozen=True, eq=False)
class BytesFactor:
    """A factor of bytes less their zero points."""

    factor: Factor
    """The bytes as they are in memory; 0 in padding."""
    zero: te.Tensor | None
    """``[batch.., rows or columns..]`` in int32: what is taken off, and what padding counts as. None is 0."""

    @property
    def dtype(self) -> str:
        """Of the bytes."""
        return str(self.factor.tensor.dtype)


def of_bytes(source: Contraction, constants: Sequence[bool]) -> tuple[Contraction, BytesFactor, BytesFactor] | Refusal:
    """A contraction of integers as one of bytes, its factors among them; or why it is none. The depth is in the order
    in which the bytes of a factor lie in memory: of the one that is computed, if one is.

    constants: which of the parameters are.
    """
    a, b = (_bytes(factor, source.params) for factor in (source.a, source.b))
    if a is None or b is None:
        return Refusal("a factor that is not bytes in memory less a zero point for each row or column")
    access = a.factor.access
    assert access is not None  # see _bytes
    fixed = next(
        constant for constant, tensor in zip(constants, source.params, strict=True) if tensor.same_as(access.memory)
    )
    order = _by_memory(b.factor if fixed else a.factor)
    a, b = (replace(each, factor=_reordered(each.factor, order)) for each in (a, b))
    depth = tuple(source.depth[axis] for axis in order)
    return replace(source, a=a.factor, b=b.factor, depth=depth), a, b


def _bytes(factor: Factor, memory: Sequence[te.Tensor]) -> BytesFactor | None:
    """What `factor` is made of, if it is that."""
    variables = [axis.var for axis in factor.tensor.op.axis]
    known = ranges(variables, dims(factor.tensor.shape))
    reads: dict[tirx.Var, tuple[te.Tensor, list[Expr]]] = {}

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            loaded = tirx.Var("loaded", str(source.dtype))
            reads[loaded] = source, [known.simplify(index) for index in indices]
            return loaded

        return leaf

    value = Inliner({source: reading(source) for source in memory}).at(factor.tensor, variables)
    value, conditions = _unguarded(value)
    value, zero = (value.a, value.b) if isinstance(value, tirx.Sub) else (value, None)
    loaded, origin = _byte(value), None if zero is None else _byte(zero)
    if loaded is None or (zero is not None and origin is None):
        return None
    before = variables[: factor.depth_axes.start]
    if origin is not None and any(uses(at, var) for at in reads[origin][1] for var in set(variables) - set(before)):
        return None

    def element(*at: Expr) -> Expr:
        source, indices = reads[loaded]
        found = source(*(replaced(index, variables, at) for index in indices))
        inside = [replaced(condition, variables, at) for condition in conditions]
        return tirx.if_then_else(tirx.all(*inside), found, tirx.const(0, str(source.dtype))) if inside else found

    def origin_of(*at: Expr) -> Expr:
        source, indices = reads[origin]
        return source(*(replaced(index, before, at) for index in indices)).astype("int32")

    tensor = te.compute(factor.tensor.shape, element, name="bytes")
    access = Access.of(tensor, memory)
    if access is None:
        return None
    zeros = None if origin is None else te.compute(factor.tensor.shape[: len(before)], origin_of, name="zero")
    return BytesFactor(replace(factor, tensor=tensor, access=access), zeros)


def _unguarded(value: Expr) -> tuple[Expr, list[Expr]]:
    """What a value is where conditions hold, and those; it is 0 elsewhere."""
    conditions: list[Expr] = []
    while isinstance(value, Call) and str(value.op.name).endswith("if_then_else") and _is_zero(value.args[2]):
        conditions.append(value.args[0])
        value = value.args[1]
    return value, conditions


def _is_zero(value: Expr) -> bool:
    return isinstance(value, tirx.IntImm) and value.value == 0


def _byte(value: Expr) -> tirx.Var | None:
    """The byte that is loaded, made wider."""
    is_wider = isinstance(value, tirx.Cast) and isinstance(value.value, tirx.Var)
    return value.value if is_wider and str(value.value.ty) in BYTES else None


def _by_memory(factor: Factor) -> list[int]:
    """The axes of the depth, counted from the first, in the order in which the elements of a factor lie."""
    assert factor.access is not None
    steps = [abs(nominal(factor.access.steps[axis])) for axis in factor.depth_axes]
    return sorted(range(len(steps)), key=lambda axis: -steps[axis])


def _reordered(factor: Factor, order: Sequence[int]) -> Factor:
    """The factor with the axes of its depth in that order."""
    assert factor.access is not None
    first = factor.depth_axes.start
    shape = [*factor.tensor.shape[:first], *(factor.tensor.shape[first + axis] for axis in order)]

    def element(*at: Expr) -> Expr:
        by_axis = dict(zip(order, at[first:], strict=True))
        return factor.tensor(*at[:first], *(by_axis[axis] for axis in range(len(order))))

    tensor = te.compute(shape, element, name="bytes")
    return replace(factor, tensor=tensor, access=Access.of(tensor, [factor.access.memory]))
