"""Constants arranged so that neighbouring threads read neighbours: filters of depthwise convolutions, tap by tap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tvm import te

from dsc.lower.exprs import dims
from dsc.lower.te import lower_body, lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.inline import identity
from dsc.targets.gpu.access import uses
from dsc.targets.gpu.generic.plan import plan_of
from dsc.targets.gpu.generic.reads import Walk, walks
from dsc.targets.gpu.generic.rows import Rows
from dsc.targets.kernel import ArrayType, Packing, Rearrange, Refusal


@dataclass(frozen=True, eq=False)
class Body:
    """A workload as tensor expressions, computed from constants as `packings` arrange them."""

    inputs: tuple[te.Tensor, ...]
    outputs: tuple[te.Tensor, ...]
    packings: Mapping[int, Packing]
    """By input."""


def body_of(workload: Workload) -> Body:
    """The body of a workload, with its constants arranged where neighbouring rows read the rest side by side and them
    apart."""
    plain = lowered(workload)
    found = plan_of(workload)
    launches = () if isinstance(found, Refusal) else found.launches
    packings = {
        i: packing for rows in launches if rows.reduced and rows.across for i, packing in _found(workload, rows)
    }
    if not packings:
        return Body(tuple(plain.inputs), tuple(plain.outputs), {})
    given, seen = list[te.Tensor](), list[te.Tensor]()
    for i, tensor in enumerate(plain.inputs):
        memory, as_seen = _arranged(tensor, packings[i]) if i in packings else (tensor, tensor)
        given.append(memory)
        seen.append(as_seen)
    outputs = lower_body(workload, dict(zip(workload.inputs, seen, strict=True)))
    return Body(tuple(given), tuple(outputs), packings)


def _found(workload: Workload, rows: Rows) -> Iterator[tuple[int, Rearrange]]:
    """The constants that are better arranged, and how."""
    inputs = lowered(workload).inputs
    read = [walk for reduced in rows.reduced for walk in walks(rows, reduced, inputs)]
    for i, operand in enumerate(workload.operands):
        own = [walk for walk in read if identity(walk.source) == identity(inputs[i])]
        if not operand.constant or len(own) != 1 or own[0].across in (0, 1):
            continue
        if any(walk.across == 1 for walk in read) and (packing := _packing(own[0], rows)) is not None:
            yield i, packing


def _packing(walk: Walk, rows: Rows) -> Rearrange | None:
    """The axis along which neighbouring rows differ last; None where it is not one."""
    shape, neighbour = dims(walk.source.shape), rows.axes[rows.across[-1]]
    moved = [axis for axis, index in enumerate(walk.indices) if uses(index, neighbour)]
    if len(moved) != 1 or not all(isinstance(size, int) for size in shape):
        return None
    order = [axis for axis in range(len(shape)) if axis not in moved] + moved
    return Rearrange((0,) * len(shape), tuple(size for size in shape if isinstance(size, int)), tuple(order))


def _arranged(tensor: te.Tensor, packing: Rearrange) -> tuple[te.Tensor, te.Tensor]:
    """The constant as it is given then, and that as it was."""
    (made,) = packing.arrays(ArrayType(packing.reshape, str(tensor.dtype)))
    memory = te.placeholder(made.shape, made.dtype, name=tensor.op.name)
    seen = te.compute(tensor.shape, lambda *at: memory(*(at[axis] for axis in packing.transpose)), name="arranged")
    return memory, seen
