"""Values of regions, as they are outside."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from dsc.ir import FusionOp


def outside(outer: Operation, value: SSAValue) -> SSAValue:
    """What a value of a region is outside of it, where it is an input."""
    if isinstance(outer, FusionOp) and value in outer.block.args:
        return outer.inputs[outer.block.args.index(value)]
    return value
