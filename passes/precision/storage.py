"""Which tensors between kernels are stored in half precision.

A region computes in float32 whatever it reads and writes, so that all its tensors may be stored in half precision, each
for itself. An op that is no region has operands and results of one type: all of them are stored so, or none. So a
tensor is float32 where one of its readers wants that: no kernel only converts.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dsc.ir import FusionOp, Graph, OnnxOp, PackOp, UnpackOp, element_of_dtype, is_constant, onnx
from dsc.passes.precision.constants import is_float32
from dsc.passes.precision.ranges import Range, Ranges, is_product
from dsc.passes.type_variables import allowed, typed

_INDIFFERENT = frozenset("ArgMax ArgMin Cast IsInf IsNaN Shape Size".split())
"""Operators that read floats and make none of the same type: what they make does not depend on how those are stored."""
STORED_ACTIVATIONS = ("all", "packed", "none")
"""Which of the values that are computed may be stored in half precision."""


@dataclass(frozen=True)
class Stored:
    """What is decided: the values that are stored in half precision, and the ops that become ops on them."""

    values: Set[SSAValue]
    ops: Mapping[Operation, list[SSAValue]]
    """With the operands and results that are so: of constants, twins."""


def decide(graph: Graph, ranges: Ranges, dtype: np.dtype[np.generic], activations: str = "all") -> Stored:
    """The largest set of values such that every op outside of regions has one type of floats.

    activations: which are stored so, one of `STORED_ACTIVATIONS`; what is looked up in a constant table always is.
    """

    def is_wanted(value: SSAValue) -> bool:
        return activations == "all" or (activations == "packed" and _is_packed(value))

    ops = [op for op in graph.ops() if not isinstance(op, FusionOp) and not _is_constant(op)]
    made = (v for op in graph.ops() for v in op.results if is_wanted(v) or _is_looked_up(v))
    values = {v for v in made if _may_be(v, ranges, graph)}
    tied = {op: _tied(op) for op in ops}
    able = {op: _takes(op, dtype) and all(ranges.of(v) == Range.KEPT for v in tied[op] if is_constant(v)) for op in ops}
    changed = True
    while changed:
        changed = False
        for op in ops:
            wanted = set() if op.name.removeprefix("onnx.") in _INDIFFERENT else _wanting_float32(op, tied[op])
            computed = {v for v in tied[op] if not is_constant(v)}
            if not able[op] or not computed <= values:
                wanted |= computed
            if wanted & values:
                values -= wanted
                changed = True
    return Stored(values, {op: tied[op] for op in ops if any(v in values for v in tied[op])})


def _may_be(value: SSAValue, ranges: Ranges, graph: Graph) -> bool:
    """Whether a value may be stored in half precision as far as its numbers, and its readers in other blocks, go."""
    if not is_float32(value) or is_constant(value) or ranges.of(value) != Range.KEPT:
        return False
    users = [use.operation for use in value.uses]
    return all(user.parent is graph.body and not isinstance(user, ReturnOp) for user in users)


def _is_looked_up(value: SSAValue) -> bool:
    """Whether a value is of a constant table, and no region multiplies by it: kernels of products read float32."""
    readers = [use.operation for use in value.uses]
    parts = (part for op in readers if isinstance(op, FusionOp) for part in op.block.ops)
    owner = value.owner
    if not isinstance(owner, onnx.Gather) or not is_constant(owner.data):
        return False
    return not any(isinstance(part, OnnxOp) and is_product(part) for part in parts)


def _is_packed(value: SSAValue) -> bool:
    """Whether a value is an image whose channels lie in blocks: convolutions make and read those."""
    owner = value.owner
    if isinstance(owner, FusionOp):
        owner = owner.yield_op.operands[owner.results.index(value)].owner
    return isinstance(owner, PackOp)


def _is_constant(op: Operation) -> bool:
    return len(op.results) == 1 and is_constant(op.results[0])


def _tied(op: Operation) -> list[SSAValue]:
    """The float32 operands and results whose type is that of the first result, or, where that is another, the first
    operand."""
    if isinstance(op, PackOp | UnpackOp):
        return [v for v in (*op.operands, *op.results) if is_float32(v)]
    if not isinstance(op, OnnxOp) or op.regions or op.onnx_name in _INDIFFERENT:
        return []
    found = [(value, variable) for value, variable in typed(op) if is_float32(value)]
    results = [variable for value, variable in found if value in op.results]
    first = results[0] if results else found[0][1] if found else ""
    return [value for value, variable in found if variable == first]


def _wanting_float32(op: Operation, tied: list[SSAValue]) -> set[SSAValue]:
    """The values that an op reads or makes, of which the type is not that of the others: it stays."""
    return {v for v in (*op.operands, *op.results) if is_float32(v) and v not in tied}


def _takes(op: Operation, dtype: np.dtype[np.generic]) -> bool:
    """Whether an op outside of regions may have tied values of `dtype`."""
    if not isinstance(op, OnnxOp):
        return isinstance(op, PackOp | UnpackOp)
    wanted = f"tensor({element_of_dtype(dtype).name.lower()})"
    tied = set(_tied(op))
    variables = {variable for value, variable in typed(op) if value in tied}
    return bool(variables) and all(wanted in allowed(op, variable) for variable in variables)
