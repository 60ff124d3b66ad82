"""Checks of indices that are data: a kernel that looks for the least and the greatest of them.

What uses the indices cuts them down to the tensor, so that nothing outside of it is touched; whether that was needed is
told after the run. So inner loops that load by index have no branch, and a check costs a pass over the indices alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import dims, product
from dsc.lower.ops.reduce import Reducer, reduce
from dsc.lower.requirements import Indexed
from dsc.lower.requirements.requirement import expression
from dsc.lower.te import Interface
from dsc.lower.workload import Workload
from dsc.runtime.checks import PASSED


@dataclass(frozen=True, eq=False)
class IndexCheck:
    """What is computed: the new status, of tensors, of the status so far unless it is the first, and of scalars."""

    inputs: tuple[int, ...]
    """Of the workload, by position: what the indices are computed from."""
    tensors: tuple[te.Tensor, ...]
    """Placeholders for these, and for the status so far."""
    scalars: tuple[tirx.Var, ...]
    """Variables of the workload that no shape of the tensors gives."""
    status: te.Tensor


def index_check(workload: Workload, found: Interface, indexed: Indexed, number: int, *, first: bool) -> IndexCheck:
    """The check of `indexed`. Its `number` goes to the status, with the index and what it is less than."""
    used = _read_by(indexed.tensor, found.inputs)
    tensors = [found.inputs[position] for position in used]
    before = None if first else te.placeholder((3,), "int64", name="status")
    sizes = [size for tensor in tensors for size in tensor.shape]
    scalars = tuple(v for v in workload.symbols.variables if not any(v.same_as(size) for size in sizes))
    given = tensors if before is None else [*tensors, before]
    return IndexCheck(used, tuple(given), scalars, _status(indexed, number, before))


def _read_by(tensor: te.Tensor, inputs: Sequence[te.Tensor]) -> tuple[int, ...]:
    """The positions of the placeholders that `tensor` is computed from."""
    found: set[int] = set()
    stack = [tensor]
    while stack:
        reached = stack.pop()
        found |= {position for position, given in enumerate(inputs) if given.same_as(reached)}
        stack.extend(reached.op.input_tensors)
    return tuple(sorted(found))


def _status(indexed: Indexed, number: int, before: te.Tensor | None) -> te.Tensor:
    """That of an earlier check that failed, else what follows from the least and the greatest index."""
    low, high = (expression(limit).astype("int64") for limit in (indexed.indices.low, indexed.indices.high))
    # Limited, so that TVM may compare differences: of the greatest integer and a negative one there is none
    least = _extreme(indexed, te.min, lambda index: tirx.min(index, low), "least")
    most = _extreme(indexed, te.max, lambda index: tirx.max(index, high - 1), "most")
    too_large = most() >= high
    outside = tirx.And(expression(product(dims(indexed.tensor.shape))) > 0, tirx.Or(too_large, least() < low))
    failed = outside if before is None else tirx.And(before[0] < 0, outside)

    def element(position: tirx.Var) -> Expr:
        index = tirx.Select(too_large, most(), least())
        report = tirx.Select(position == 0, tirx.const(number, "int64"), tirx.Select(position == 1, index, high))
        return tirx.Select(failed, report, tirx.const(PASSED, "int64") if before is None else before[position])

    return te.compute((3,), element, name="status")


def _extreme(indexed: Indexed, reducer: Reducer, limited: Callable[[Expr], Expr], name: str) -> te.Tensor:
    """The least or the greatest of all indices, each `limited`."""
    tensor, component = indexed.tensor, indexed.indices.component
    shape = dims(tensor.shape) if component is None else dims(tensor.shape)[:-1]
    last = [] if component is None else [tirx.const(component, "int64")]

    def index(*at: Expr) -> Expr:
        return limited(tensor(*at[: len(shape)], *last).astype("int64"))

    walked = shape or [1]
    return reduce(reducer, index, walked, range(len(walked)), False, name)
