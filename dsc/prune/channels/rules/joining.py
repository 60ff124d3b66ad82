"""Operators whose results have the indices of their operands: one by one, or one after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx

from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.dims import Dim
from dsc.quantize.network import attribute


def elementwise(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Dims are aligned at the last one; those of size 1 are broadcast."""
    for index, name in enumerate(node.input):
        if name:
            align(coupling, coupling.operand(node, index), coupling.result(node), node.name)


def align(coupling: Coupling, some: tuple[Dim, ...], others: tuple[Dim, ...], said: str) -> None:
    """Join dims from the last one on."""
    for one, other in zip(reversed(some), reversed(others), strict=False):
        coupling.join(one, other, said)


def first_only(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Results are as the first operand; the others are numbers, or of no matter."""
    for index, name in enumerate(node.output):
        if name:
            align(coupling, coupling.operand(node, 0), coupling.result(node, index), node.name)


def concat(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Along its axis the operands' indices one after the other."""
    result = coupling.result(node)
    axis = attribute(node, "axis", 0) % len(result)
    operands = [coupling.operand(node, index) for index in range(len(node.input))]
    for operand in operands:
        for at, dim in enumerate(operand):
            if at != axis:
                coupling.join(dim, result[at], node.name)
    along(coupling, result[axis], [operand[axis] for operand in operands], node.name)


def along(coupling: Coupling, whole: Dim, parts: list[Dim], said: str) -> None:
    """A dim whose indices are those of its parts, one after the other."""
    ends = np.cumsum([0, *(part.size for part in parts)])
    if not all(dim.known for dim in (whole, *parts)) or ends[-1] != whole.size:
        coupling.pin([whole, *parts], f"{said}: a size is not known before it runs")
        return
    for (start, end), part in zip(pairwise(ends), parts, strict=True):
        coupling.join_atoms(whole.atoms[start:end], part.atoms)


def batch_norm(node: onnx.NodeProto, coupling: Coupling) -> None:
    """A number for each channel."""
    data = coupling.operand(node, 0)
    if len(node.output) > 1:
        coupling.pin_all(node, f"{node.name}: it is trained")
        return
    align(coupling, data, coupling.result(node), node.name)
    for index in range(1, 5):
        coupling.join(coupling.operand(node, index)[0], data[1], node.name)


RULES = {
    "BatchNormalization": batch_norm,
    "Cast": first_only,
    "CastLike": first_only,
    "Concat": concat,
    "Dropout": first_only,
    "Identity": first_only,
}
