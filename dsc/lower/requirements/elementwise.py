"""Operators of one element each: their operands broadcast."""

from __future__ import annotations

from collections.abc import Iterator

from dsc.ir import onnx
from dsc.lower.exprs import product
from dsc.lower.registry import Call
from dsc.lower.requirements.requirement import Requirement, broadcast, equal, one_way, requires, shape_of


def operands(call: Call) -> Iterator[Requirement]:
    """All operands broadcast to one shape: required of all operators of which `Fact.BROADCASTS` is true."""
    yield from broadcast(*(shape_of(x) for x in call.inputs if x is not None))


@requires(onnx.PRelu)
def prelu(call: Call) -> Iterator[Requirement]:
    """The slope is repeated to the shape of X."""
    x, slope = call.inputs
    yield from one_way(shape_of(slope), shape_of(x), "the slope")


@requires(onnx.Clip)
def clip(call: Call) -> Iterator[Requirement]:
    """Limits are single numbers."""
    for limit, what in zip(call.inputs[1:], ("min", "max"), strict=True):
        if limit is not None:
            yield equal(product(shape_of(limit)), 1, f"the elements of {what} and 1")
