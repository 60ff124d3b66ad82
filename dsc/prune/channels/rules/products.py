"""Products: constants that are summed over, and what else their dims are."""

from __future__ import annotations

import onnx

from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.dims import Dim
from dsc.prune.channels.rules.joining import align
from dsc.quantize.network import attribute


def conv(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Weights [outputs, inputs of a group, ...]."""
    data, weight, result = coupling.operand(node, 0), coupling.operand(node, 1), coupling.result(node)
    _places(node, coupling, data, weight, result)
    groups = attribute(node, "group", 1)
    if not _summed(node, coupling, data[1], weight, result[1]):
        return
    coupling.join(weight[0], result[1], node.name)
    if groups == 1:
        coupling.join(weight[1], data[1], node.name)
        coupling.contract(node, 1, 1)
    elif data[1].size != groups * weight[1].size or weight[0].size % groups:
        coupling.pin([data[1], *weight], f"{node.name} has {groups} groups, which do not divide its channels")
    elif groups > weight[1].size:
        _whole_groups(node, coupling, data[1], weight, groups)
    else:
        _within_groups(coupling, data[1], weight, groups)
        coupling.contract(node, 1, 1)


def _whole_groups(node: onnx.NodeProto, coupling: Coupling, data: Dim, weight: tuple[Dim, ...], groups: int) -> None:
    """Groups go as a whole, with their inputs and outputs; those of a depthwise convolution are its channels."""
    inputs, outputs = data.atoms.reshape(groups, -1), weight[0].atoms.reshape(groups, -1)
    coupling.join_atoms(inputs, inputs[:, :1])
    coupling.join_atoms(outputs, inputs[:, :1])
    coupling.pin([weight[1]], f"{node.name}: the inputs of a group")


def _within_groups(coupling: Coupling, data: Dim, weight: tuple[Dim, ...], groups: int) -> None:
    """The same inputs of all groups go, and the same outputs, so that groups stay alike."""
    outputs = weight[0].atoms.reshape(groups, -1)
    coupling.join_atoms(data.atoms.reshape(groups, -1), weight[1].atoms)
    coupling.join_atoms(outputs, outputs[:1])


def conv_transpose(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Weights [inputs, outputs of a group, ...]."""
    data, weight, result = coupling.operand(node, 0), coupling.operand(node, 1), coupling.result(node)
    _places(node, coupling, data, weight, result)
    if attribute(node, "group", 1) > 1:
        coupling.pin([data[1], *weight, result[1]], f"{node.name} has groups")
    elif _summed(node, coupling, data[1], weight, result[1]):
        coupling.join(weight[0], data[1], node.name)
        coupling.join(weight[1], result[1], node.name)
        coupling.contract(node, 1, 0)


def _places(
    node: onnx.NodeProto, coupling: Coupling, data: tuple[Dim, ...], weight: tuple[Dim, ...], result: tuple[Dim, ...]
) -> None:
    """What is the same for convolutions of all kinds: batches pass, taps and places stay, a bias is of the outputs."""
    coupling.join(data[0], result[0], node.name)
    coupling.pin([*data[2:], *weight[2:], *result[2:]], f"{node.name} looks at windows of it")
    if len(node.input) > 2 and node.input[2]:
        coupling.join(coupling.operand(node, 2)[0], result[1], node.name)


def _summed(node: onnx.NodeProto, coupling: Coupling, data: Dim, weight: tuple[Dim, ...], result: Dim) -> bool:
    """Whether the weight is a constant, and the channels that it is multiplied with are known."""
    if coupling.network.is_constant(node.input[1]) and data.known and result.known:
        return True
    coupling.pin([data, *weight, result], f"{node.name}: its weight is computed")
    return False


def matmul(node: onnx.NodeProto, coupling: Coupling) -> None:
    """The last dim of the first operand by the last but one of the second."""
    first, second, result = coupling.operand(node, 0), coupling.operand(node, 1), coupling.result(node)
    if min(len(first), len(second)) < 2:
        coupling.pin_all(node, f"{node.name} multiplies a vector")
        return
    align(coupling, first[:-2], result[:-2], node.name)
    align(coupling, second[:-2], result[:-2], node.name)
    coupling.join(first[-2], result[-2], node.name)
    coupling.join(second[-1], result[-1], node.name)
    _inner(node, coupling, (first, len(first) - 1), (second, len(second) - 2))


def gemm(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Matrices, either turned or not, and what is added."""
    first, second, result = coupling.operand(node, 0), coupling.operand(node, 1), coupling.result(node)
    rows, columns = attribute(node, "transA", 0), 1 - attribute(node, "transB", 0)
    coupling.join(first[rows], result[0], node.name)
    coupling.join(second[columns], result[1], node.name)
    _inner(node, coupling, (first, 1 - rows), (second, 1 - columns))
    if len(node.input) > 2 and node.input[2]:
        align(coupling, coupling.operand(node, 2), result, node.name)


def _inner(
    node: onnx.NodeProto, coupling: Coupling, first: tuple[tuple[Dim, ...], int], second: tuple[tuple[Dim, ...], int]
) -> None:
    """What is summed over. Where both factors are computed it stays: no weight has it."""
    dims = [tensor[axis] for tensor, axis in (first, second)]
    constant = [coupling.network.is_constant(name) for name in node.input[:2]]
    if sum(constant) != 1:
        coupling.pin(dims, f"{node.name} sums over it, and both factors are computed")
        return
    coupling.join(dims[0], dims[1], node.name)
    index = constant.index(True)
    coupling.contract(node, index, (first, second)[index][1])


RULES = {"Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul}
