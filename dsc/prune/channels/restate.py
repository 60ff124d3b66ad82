"""Operators that state sizes: what they state when some indices go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.check.segments import read_names
from dsc.exchange.names import unique
from dsc.prune.channels.dims import Dim
from dsc.prune.channels.groups import Gone
from dsc.prune.channels.shapes import parts_of
from dsc.prune.channels.slices import ends_of
from dsc.quantize.network import attribute


class Added:
    """Constants and nodes that a model is given, by names that nothing has yet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._taken = {name for node in model.graph.node for name in (*read_names(node), *node.output, node.name)}
        self._taken |= {value.name for value in (*model.graph.initializer, *model.graph.input)}

    def numbers(self, wish: str, numbers: list[int]) -> str:
        """The name of a constant of whole numbers."""
        name = unique(wish, self._taken)
        self._model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(numbers, np.int64), name))
        return name

    def concat(self, wish: str, parts: list[str]) -> onnx.NodeProto:
        """A node that puts numbers one after the other."""
        name = unique(wish, self._taken)
        made: onnx.NodeProto = onnx.helper.make_node("Concat", parts, [name], name=name, axis=0)
        return made


Restate: TypeAlias = Callable[[onnx.NodeProto, onnx.NodeProto, Gone, Added], list[onnx.NodeProto]]
"""Takes a node of the smaller model, which it changes, and what it was; gives the nodes that take its place."""

_SPLIT_BY_OPERAND = 13
_SLICE_BY_OPERAND = 10


def _conv(node: onnx.NodeProto, before: onnx.NodeProto, gone: Gone, _added: Added) -> list[onnx.NodeProto]:
    """Fewer groups, where whole groups went."""
    data, weight = (gone.coupling.read_by(before, index) for index in (0, 1))
    if data and weight and attribute(node, "group", 1) > 1:
        _set(node, "group", gone.size(data[1]) // gone.size(weight[1]))
    return [node]


def _split(node: onnx.NodeProto, _before: onnx.NodeProto, gone: Gone, added: Added) -> list[onnx.NodeProto]:
    """The sizes of its parts."""
    results = [gone.coupling.dims_of(name) for name in node.output]
    parts = [result[attribute(node, "axis", 0)] for result in results if result]
    sizes = [gone.size(dim) for dim in parts]
    if sizes == [dim.size for dim in parts]:
        return [node]
    if gone.coupling.network.opset < _SPLIT_BY_OPERAND:
        _set(node, "split", sizes)
    else:
        _unset(node, "num_outputs")
        node.input[:] = [node.input[0], added.numbers(f"{node.name}_sizes", sizes)]
    return [node]


def _slice(node: onnx.NodeProto, before: onnx.NodeProto, gone: Gone, added: Added) -> list[onnx.NodeProto]:
    """Where it begins and ends."""
    data = gone.coupling.read_by(before, 0)
    cuts = (data and ends_of(before, gone.coupling.network, [dim.size for dim in data])) or {}
    if all(gone.size(data[axis]) == data[axis].size for axis in cuts):
        return [node]
    placed = {axis: _placed(gone, data[axis], cut) for axis, cut in cuts.items()}
    told = {
        "starts": [cut.start for cut in placed.values()],
        "ends": [cut.stop for cut in placed.values()],
        "axes": list(placed),
    }
    if gone.coupling.network.opset < _SLICE_BY_OPERAND:
        for name, numbers in told.items():
            _set(node, name, numbers)
    else:
        steps = list(node.input[4:])
        node.input[:] = [node.input[0], *(added.numbers(f"{node.name}_{key}", n) for key, n in told.items()), *steps]
    return [node]


def _placed(gone: Gone, dim: Dim, cut: slice) -> slice:
    """What is cut of a dim of which some indices went; as it was where none did."""
    kept = gone.kept(dim)
    if kept.all():
        return cut
    start = int(np.count_nonzero(kept[: cut.start]))
    return slice(start, start + int(np.count_nonzero(kept[cut])))


def _told(node: onnx.NodeProto, before: onnx.NodeProto, gone: Gone, added: Added) -> list[onnx.NodeProto]:
    """The dims of the result, where they are another number."""
    result = gone.coupling.dims_of(node.output[0])
    sizes = {axis: gone.size(dim) for axis, dim in enumerate(result) if gone.size(dim) < dim.size}
    if not sizes:
        return [node]
    network = gone.coupling.network
    array = network.constant(before.input[1])
    if array is not None:
        numbers = [sizes.get(axis, int(number)) for axis, number in enumerate(array)]
        node.input[1] = added.numbers(f"{node.name}_dims", numbers)
        return [node]
    parts = parts_of(before, network)
    for axis, size in sizes.items():
        parts[axis] = added.numbers(f"{node.name}_dim", [size])
    concat = added.concat(f"{node.name}_dims", parts)
    node.input[1] = concat.output[0]
    return [concat, node]


def _set(node: onnx.NodeProto, name: str, value: int | list[int]) -> None:
    _unset(node, name)
    node.attribute.append(onnx.helper.make_attribute(name, value))


def _unset(node: onnx.NodeProto, name: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


RESTATED: Mapping[str, Restate] = {
    "Conv": _conv, "Expand": _told, "Reshape": _told, "Slice": _slice, "Split": _split,
}  # fmt: skip
