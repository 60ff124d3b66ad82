"""Indices that are data: where each operator has them, and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from tvm import te
from xdsl.ir import Operation, SSAValue

from dsc.ir import element_of, onnx
from dsc.lower.exprs import Dim, minimum, product, simplify
from dsc.lower.ops.scatter import counted_shape
from dsc.lower.registry import Call
from dsc.lower.requirements.requirement import Requirement, at_least, at_most, shape_of
from dsc.lower.tensors import normalize_axis


@dataclass(frozen=True)
class Indices:
    """Elements of an operand that are at least `low` and less than `high`, in terms of the sizes of operands."""

    operand: int
    low: Dim
    high: Dim
    whole: str
    """What they are indices of, for messages: "dim 0 of data"."""
    counted: str = "elements"
    """What there are `high` of."""
    component: int | None = None
    """The position in the last dim, where only these elements are meant."""

    @property
    def text(self) -> str:
        """The message, with places for ``{left}``, the index, and ``{right}``."""
        return f"index {{left}} is outside of {self.whole}, which has {{right}} {self.counted}"

    def of(self, values: np.ndarray) -> list[Requirement]:
        """What known indices require of the sizes."""
        values = values if self.component is None else values[..., self.component]
        if values.size == 0:
            return []
        least, most = int(values.min()), int(values.max())
        return [
            at_least(least, self.low, f"an index into {self.whole}"),
            at_most(most, simplify(self.high - 1), f"an index into {self.whole}"),
        ]


@dataclass(frozen=True)
class Indexed:
    """Indices of an op in a workload."""

    op: Operation
    tensor: te.Tensor
    """Where they are, or what they are computed from."""
    indices: Indices


Rule: TypeAlias = Callable[[Call], Iterable[Indices]]

INDICES: dict[str, Rule] = {}


def indexes(*op_types: type[Operation]) -> Callable[[Rule], Rule]:
    """Registers a function as what the operands of `op_types` are indices of."""

    def register(rule: Rule) -> Rule:
        for op_type in op_types:
            INDICES[op_type.name] = rule
        return rule

    return register


def reaching(call: Call) -> Iterator[Requirement]:
    """Where there are indices there is something to index: kernels cut them down to the tensor, which takes one."""
    for found in INDICES[call.op.name](call) if call.op.name in INDICES else ():
        given = call.inputs[found.operand]
        if given is not None:
            some = minimum(product(shape_of(given)), 1)
            yield at_most(some, found.high, f"the indices (as far as 1) into {found.whole}")


def _of_axis(call: Call, operand: int, size: Dim, axis: int, component: int | None = None) -> Indices:
    return Indices(operand, simplify(0 - size), size, f"dim {axis} of data", component=component)


@indexes(onnx.Gather, onnx.GatherElements, onnx.ScatterElements)
def of_axis(call: Call) -> Iterator[Indices]:
    """Positions along the axis, from its end where negative."""
    shape = shape_of(call.inputs[0])
    axis = normalize_axis(call.attr("axis"), len(shape))
    if not _is_byte(call.op.operands[1], shape[axis]):
        yield _of_axis(call, 1, shape[axis], axis)


def _is_byte(indices: SSAValue, size: Dim) -> bool:
    """Whether indices are bytes, all of which there are elements for."""
    cast = indices.owner
    if not isinstance(cast, onnx.Cast) or not isinstance(size, int):
        return False
    byte = element_of(cast.input.type).dtype
    return (byte == np.uint8 and size >= 256) or (byte == np.int8 and size >= 128)


@indexes(onnx.GatherND, onnx.ScatterND)
def of_vectors(call: Call) -> Iterator[Indices]:
    """Each component along a dim of its own."""
    shape, depth = shape_of(call.inputs[0]), shape_of(call.inputs[1])[-1]
    first = call.attr("batch_dims", 0)
    if isinstance(depth, int):
        for component, axis in enumerate(range(first, min(first + depth, len(shape)))):
            yield _of_axis(call, 1, shape[axis], axis, component)


@indexes(onnx.RoiAlign)
def of_images(call: Call) -> Iterator[Indices]:
    """Images of the batch, which are not counted from the end."""
    yield Indices(2, 0, shape_of(call.inputs[0])[0], "the batch", "images")


@indexes(onnx.ReverseSequence)
def lengths(call: Call) -> Iterator[Indices]:
    """Lengths up to that of the time axis."""
    size = shape_of(call.inputs[0])[call.attr("time_axis")]
    yield Indices(1, 0, simplify(size + 1), "the lengths of a sequence", "values")


@indexes(onnx.TensorScatter)
def positions(call: Call) -> Iterator[Indices]:
    """Where an update begins that ends inside of the cache; a circular one goes on at the beginning."""
    past, update = (shape_of(x) for x in call.inputs[:2])
    axis = normalize_axis(call.attr("axis"), len(past))
    if call.attr("mode") == "circular":
        yield Indices(2, 0, past[axis], "the cache", "places")
    else:
        free = simplify(past[axis] - update[axis] + 1)
        yield Indices(2, 0, free, "the part of the cache where an update may begin", "places")


@indexes(onnx.MaxUnpool)
def places(call: Call) -> Iterator[Indices]:
    """Elements of what was pooled."""
    yield Indices(1, 0, product(counted_shape(call)), "what was pooled")
