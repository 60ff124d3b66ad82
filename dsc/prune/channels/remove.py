"""The smaller model: constants without the indices that go, and operators told of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.check.segments import read_names
from dsc.exchange.names import unique
from dsc.prune.channels.dims import Use
from dsc.prune.channels.groups import Gone
from dsc.prune.channels.restate import RESTATED, Added
from dsc.quantize.network import Network
from dsc.quantize.prepare import drop_unused, replace_nodes

_Masks: TypeAlias = Mapping[int, np.ndarray]
"""Of axes of a constant of which some indices go, those that stay."""


def zeroed(network: Network, gone: Gone) -> onnx.ModelProto:
    """The model with zeros where what goes is multiplied: its outputs are those of the smaller one."""
    name, axes = gone.coupling.name_of, defaultdict[str, set[int]](set)
    for contraction in gone.coupling.contractions:  # along both axes, where products read a weight both ways round
        axes[name(contraction.weight)].add(contraction.axis)
    return _with_constants(network, lambda use: _masks(gone, use, sorted(axes[name(use)])), _with_zeros)


def removed(network: Network, gone: Gone) -> onnx.ModelProto:
    """The model without what goes. Names of nodes and tensors stay; types of inner tensors are not stated."""
    model = _with_constants(network, lambda use: _masks(gone, use, range(len(gone.coupling.dims_of(use)))), _without)
    del model.graph.value_info[:]
    added, nodes = Added(model), []
    for node, before in zip(model.graph.node, network.nodes, strict=True):
        restate = RESTATED.get(node.op_type)
        nodes += [node] if restate is None else restate(node, before, gone, added)
    replace_nodes(model.graph, nodes)
    drop_unused(model.graph)
    return model


def _masks(gone: Gone, use: Use, axes: range | list[int]) -> _Masks:
    dims = gone.coupling.dims_of(use)
    masks = {axis: gone.kept(dims[axis]) for axis in axes}
    return {axis: mask for axis, mask in masks.items() if not mask.all()}


def _with_zeros(array: np.ndarray, axis: int, mask: np.ndarray) -> np.ndarray:
    return np.asarray(array * mask.reshape(-1, *[1] * (array.ndim - 1 - axis)).astype(array.dtype))


def _without(array: np.ndarray, axis: int, mask: np.ndarray) -> np.ndarray:
    return np.compress(mask, array, axis)


def _with_constants(
    network: Network,
    masks_of: Callable[[Use], _Masks],
    change: Callable[[np.ndarray, int, np.ndarray], np.ndarray],
) -> onnx.ModelProto:
    """The model whose constants are changed as each node reads them: a copy for each way in which they are.

    A constant that nothing reads as it was gives its name to the first of them.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    taken = {name for node in network.nodes for name in (*read_names(node), *node.output)}
    as_before, changed = _reads(network, masks_of)
    nodes = {node.name: node for node in model.graph.node}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    names: dict[tuple[str, str], str] = {}
    for use, (name, masks) in changed.items():
        key = name, repr([(axis, mask.tobytes()) for axis, mask in masks.items()])
        if key not in names:
            names[key] = unique(name, taken) if name in as_before else name
            as_before.add(name)
            array = network.constant(name)
            assert array is not None  # it is a use
            for axis, mask in masks.items():
                array = change(array, axis, mask)
            _put(tensors, model, onnx.numpy_helper.from_array(np.ascontiguousarray(array), names[key]))
        nodes[use.node].input[use.operand] = names[key]
    drop_unused(model.graph)
    return model


def _reads(network: Network, masks_of: Callable[[Use], _Masks]) -> tuple[set[str], dict[Use, tuple[str, _Masks]]]:
    """The constants that something reads as they are, and those that nodes read changed."""
    as_before = {*network.outputs, *(value.name for value in network.model.graph.input)}
    changed = {}
    for node in network.nodes:
        as_before |= set(read_names(node)) - set(node.input)
        for index, name in enumerate(node.input):
            masks = masks_of(Use(node.name, index)) if network.is_constant(name) else {}
            if masks:
                changed[Use(node.name, index)] = name, masks
            else:
                as_before.add(name)
    return as_before, changed


def _put(tensors: dict[str, onnx.TensorProto], model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """Add a constant to a model, or put it in the place of that of its name."""
    if tensor.name in tensors:
        tensors[tensor.name].CopyFrom(tensor)
    else:
        model.graph.initializer.append(tensor)
