"""Operators that look at all elements along some dims: these stay as they are, the others pass."""

from __future__ import annotations

import onnx

from dsc.ir.onnx.facts import OPERATORS, Fact
from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.rules.joining import align
from dsc.quantize.network import attribute

_FROM_AXIS = 13
"""Before this opset a softmax is over all dims from its axis on."""


def reduce(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Dims that are reduced stay; the result has the others, those as dims of size 1 or not at all."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    coupling.pin_operands(node, 1, f"{node.name}: what it reduces is told by it")
    axes = _axes(node, coupling, len(data))
    if axes is None:
        coupling.pin([*data, *result], f"{node.name} reduces it")
        return
    coupling.pin([data[axis] for axis in axes], f"{node.name} reduces it")
    left = [dim for axis, dim in enumerate(data) if axis not in axes]
    made = result if len(result) < len(data) else [dim for axis, dim in enumerate(result) if axis not in axes]
    for dim, other in zip(left, made, strict=True):
        coupling.join(dim, other, node.name)


def _axes(node: onnx.NodeProto, coupling: Coupling, rank: int) -> set[int] | None:
    """Those that are reduced; None where that is not known."""
    if node.op_type in ("ArgMax", "ArgMin"):
        return {attribute(node, "axis", 0) % rank}
    found = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
    if found is None and len(node.input) > 1 and node.input[1]:
        array = coupling.network.constant(node.input[1])
        found = None if array is None else [int(axis) for axis in array.reshape(-1)]
    return {axis % rank for axis in found} if found else None


def pool(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Batches and channels pass, places stay."""
    if len(node.output) > 1:  # the place of a largest element counts channels
        coupling.pin_all(node, f"{node.name} gives places")
        return
    data, result = coupling.operand(node, 0), coupling.result(node)
    align(coupling, data[:2], result[:2], node.name)
    coupling.pin([*data[2:], *result[2:]], f"{node.name} looks at windows of it")


def over_axis(node: onnx.NodeProto, coupling: Coupling) -> None:
    """A softmax, or a norm, over one dim or over all from one on."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    whole = node.op_type in ("LayerNormalization", "RMSNormalization")
    default = 1 if node.op_type in OPERATORS[Fact.SOFTMAX] and coupling.network.opset < _FROM_AXIS else -1
    axis = attribute(node, "axis", default) % len(data)
    until = len(data) if whole or default == 1 else axis + 1
    align(coupling, data, result, node.name)
    coupling.pin(data[axis:until], f"{node.name} norms over it")
    coupling.pin_operands(node, 1, f"{node.name} norms over it")
    for index in range(1, len(node.output)):
        if node.output[index]:
            coupling.pin(coupling.result(node, index), f"{node.name} norms over it")


def over_channels(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Batches alone pass."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    align(coupling, data, result, node.name)
    coupling.pin(data[1:], f"{node.name} norms over it")
    coupling.pin_operands(node, 1, f"{node.name} norms over it")


def instance_norm(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Each channel by itself."""
    data = coupling.operand(node, 0)
    align(coupling, data, coupling.result(node), node.name)
    coupling.pin(data[2:], f"{node.name} norms over it")
    for index in (1, 2):
        coupling.join(coupling.operand(node, index)[0], data[1], node.name)


RULES = {
    **dict.fromkeys(OPERATORS[Fact.REDUCTION], reduce),
    **dict.fromkeys(OPERATORS[Fact.POOL], pool),
    **dict.fromkeys(OPERATORS[Fact.SOFTMAX], over_axis),
    "GroupNormalization": over_channels,
    "InstanceNormalization": instance_norm,
    "LRN": over_channels,
    "LayerNormalization": over_axis,
    "LpNormalization": over_axis,
    "RMSNormalization": over_axis,
}
