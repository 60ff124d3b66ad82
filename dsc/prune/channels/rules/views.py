"""Operators whose result is the same bytes with other dims."""

from __future__ import annotations

from math import prod

import onnx

from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.dims import Dim
from dsc.prune.channels.rules.joining import align
from dsc.prune.channels.shapes import stated


def view(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Dims that multiply to the same are each other's, counted from the last one, then from the first."""
    data, result = list(coupling.operand(node, 0)), list(coupling.result(node))
    coupling.pin_operands(node, 1, f"{node.name}: dims are told by it")
    if node.op_type == "Reshape":
        _pin_told(node, coupling, result)
    blocks, data, result = _blocks(data[::-1], result[::-1])
    for some, others in blocks:
        _couple(node, coupling, some[::-1], others[::-1])
    blocks, data, result = _blocks(data[::-1], result[::-1])
    for some, others in blocks:
        _couple(node, coupling, some, others)
    coupling.pin([*data, *result], f"{node.name}: a size is not known before it runs")


def _pin_told(node: onnx.NodeProto, coupling: Coupling, result: list[Dim]) -> None:
    """Dims of which the operand that tells them is computed."""
    told = stated(node, coupling.network, len(result))
    coupling.pin([dim for dim, known in zip(result, told, strict=True) if not known], f"{node.name}: it is computed")


def expand(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Dims that are made larger stay as they are."""
    data, result = coupling.operand(node, 0), coupling.result(node)
    coupling.pin_operands(node, 1, f"{node.name}: dims are told by it")
    _pin_told(node, coupling, list(result))
    align(coupling, data, result, node.name)
    aligned = [None] * (len(result) - len(data)) + list(data)
    grown = [dim for dim, source in zip(result, aligned, strict=True) if source is None or source.size != dim.size]
    coupling.pin(grown, f"{node.name} makes it larger")


def _couple(node: onnx.NodeProto, coupling: Coupling, some: list[Dim], others: list[Dim]) -> None:
    some, others = ([dim for dim in dims if dim.size > 1] for dims in (some, others))
    if len(some) == len(others) == 1:
        coupling.join(some[0], others[0], node.name)
    elif len(some) == 1 and others:
        coupling.merge(some[0], others, f"{node.name} takes it apart")
    elif len(others) == 1 and some:
        coupling.merge(others[0], some, f"{node.name} puts it together")
    else:
        coupling.pin([*some, *others], f"{node.name} puts dims together and takes them apart")


def _blocks(some: list[Dim], others: list[Dim]) -> tuple[list[tuple[list[Dim], list[Dim]]], list[Dim], list[Dim]]:
    """The least runs of dims of the same product, from the first on, up to a size that is not known; and what is left.

    Dims of size 1 at the end of a run are in the next one.
    """
    found = []
    while some and others:
        lengths = _least(some, others)
        if lengths is None:
            break
        found.append((some[: lengths[0]], others[: lengths[1]]))
        some, others = some[lengths[0] :], others[lengths[1] :]
    return found, some, others


def _least(some: list[Dim], others: list[Dim]) -> tuple[int, int] | None:
    """How many dims of each have one product; None where that is not known."""
    taken = [1, 1]
    while True:
        both = some[: taken[0]], others[: taken[1]]
        if not all(dim.known for dims in both for dim in dims):
            return None
        products = [prod(dim.size for dim in dims) for dims in both]
        if products[0] == products[1]:
            return taken[0], taken[1]
        side = products.index(min(products))
        taken[side] += 1
        if taken[side] > len((some, others)[side]):
            return None


RULES = {"Expand": expand, "Flatten": view, "Reshape": view, "Squeeze": view, "Unsqueeze": view}
