"""What a Slice cuts, where constants say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from dsc.quantize.network import Network

_OPERANDS = ("starts", "ends", "axes", "steps")


def ends_of(node: onnx.NodeProto, network: Network, sizes: Sequence[int]) -> Mapping[int, slice] | None:
    """By axis, what is left of a dim; None where it is not known. sizes: of the data's dims."""
    said = {a.name: list(a.ints) for a in node.attribute}
    for name, operand in zip(_OPERANDS, node.input[1:], strict=False):
        if operand:
            array = network.constant(operand)
            if array is None:
                return None
            said[name] = [int(number) for number in array.reshape(-1)]
    if "starts" not in said or "ends" not in said:
        return None
    axes = [axis % len(sizes) for axis in said.get("axes") or range(len(said["starts"]))]
    steps = said.get("steps") or [1] * len(axes)
    found = {}
    for axis, start, end, step in zip(axes, said["starts"], said["ends"], steps, strict=True):
        first, last, _ = slice(start, end, step).indices(sizes[axis])
        found[axis] = slice(first, last, step)
    return found
