"""Checks of indices that are data: a kernel that looks for the least and the greatest of them.

What uses the indices cuts them down to the tensor, so that nothing outside of it is touched; whether that was needed is
told after the run. So inner loops that load by index have no branch, and a check costs a pass over the indices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import dims
from dsc.lower.requirements import Indexed
from dsc.lower.requirements.requirement import expression
from dsc.lower.te import Interface
from dsc.lower.workload import Workload
from dsc.runtime.checks import PASSED


@dataclass(frozen=True)
class IndexCheck:
    """A kernel: tensors, the status so far unless it is the first, scalars, the new status."""

    func: tirx.PrimFunc
    inputs: tuple[int, ...]
    """Of the workload, by position: what the indices are computed from."""
    scalars: tuple[tirx.Var, ...]
    """Variables of the workload that no shape of these gives."""


def index_check(workload: Workload, found: Interface, indexed: Indexed, number: int, *, first: bool) -> IndexCheck:
    """The check of `indexed`. Its `number` goes to the status, with the index and what it is less than."""
    used = _read_by(indexed.tensor, found.inputs)
    tensors = [found.inputs[position] for position in used]
    status = te.placeholder((3,), "int64", name="status")
    given = [indexed.tensor] if first else [indexed.tensor, status]

    def body(ins: Sequence[tirx.Buffer], outs: Sequence[tirx.Buffer]) -> tirx.Stmt:
        return _body(indexed, number, ins[0], None if first else ins[1], outs[0])

    result = te.extern([(3,)], given, body, dtype="int64", name="status")
    sizes = [size for tensor in tensors for size in tensor.shape]
    scalars = tuple(v for v in workload.symbols.variables if not any(v.same_as(size) for size in sizes))
    parameters = [*tensors, *([] if first else [status]), *scalars, result]
    index = "int64" if workload.symbols.variables else None
    return IndexCheck(te.create_prim_func(parameters, index_dtype_override=index), used, scalars)


def _read_by(tensor: te.Tensor, inputs: Sequence[te.Tensor]) -> tuple[int, ...]:
    """The positions of the placeholders that `tensor` is computed from."""
    found: set[int] = set()
    stack = [tensor]
    while stack:
        reached = stack.pop()
        found |= {position for position, given in enumerate(inputs) if given.same_as(reached)}
        stack += reached.op.input_tensors
    return tuple(sorted(found))


def _body(
    indexed: Indexed, number: int, source: tirx.Buffer, before: tirx.Buffer | None, after: tirx.Buffer
) -> tirx.Stmt:
    """The least and the greatest index, and the status that follows from them."""
    indices = indexed.indices
    low, high = (expression(limit).astype("int64") for limit in (indices.low, indices.high))
    least, most = (tirx.decl_buffer((1,), "int64", name, scope="local") for name in ("least", "most"))
    start = [tirx.const(PASSED, "int64")] * 3 if before is None else [before[position] for position in range(3)]
    parts = [_store(after, position, value) for position, value in enumerate(start)]
    parts += [tirx.AllocBuffer(least), tirx.AllocBuffer(most), _store(least, 0, low), _store(most, 0, high - 1)]
    parts.append(_walk(source, indices.component, [], least, most))
    for outside, value in ((most[0] >= high, most[0]), (least[0] < low, least[0])):
        found = [tirx.const(number, "int64"), value, high]
        report = tirx.SeqStmt([_store(after, position, part) for position, part in enumerate(found)])
        parts.append(tirx.IfThenElse(tirx.And(after[0] < 0, outside), report, None))
    return tirx.SeqStmt(parts)


def _walk(
    source: tirx.Buffer, component: int | None, at: Sequence[Expr], least: tirx.Buffer, most: tirx.Buffer
) -> tirx.Stmt:
    """Loops over the indices that are left when the first ones are `at`."""
    shape = dims(source.shape) if component is None else dims(source.shape)[:-1]
    if len(at) < len(shape):
        i = tirx.Var("i", "int64")
        body = _walk(source, component, [*at, i], least, most)
        return tirx.For(i, tirx.const(0, "int64"), expression(shape[len(at)]), tirx.ForKind.SERIAL, body)
    place = [*at, *([] if component is None else [tirx.const(component, "int64")])]
    value = tirx.BufferLoad(source, place).astype("int64")
    return tirx.SeqStmt([_store(least, 0, tirx.Min(least[0], value)), _store(most, 0, tirx.Max(most[0], value))])


def _store(buffer: tirx.Buffer, position: int, value: Expr) -> tirx.Stmt:
    return tirx.BufferStore(buffer, value, [tirx.const(position, "int32")])
