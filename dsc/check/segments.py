"""A model in pieces that run one after the other, each a model of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.helper
import onnx.shape_inference

from dsc.errors import UnsupportedModelError

_INFERRED = 256
"""Elements of a constant up to which it may be a shape, which inference reads."""


@dataclass(frozen=True)
class Segment:
    """Nodes of a model that follow one another.

    reads: what they take from before them, in no initializer. makes: the values they give, those of use outside only.
    """

    nodes: tuple[onnx.NodeProto, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def read_names(node: onnx.NodeProto) -> list[str]:
    """The values that a node reads, those that its subgraphs take from around them included."""
    names = [name for name in node.input if name]
    for graph in _subgraphs(node):
        inner = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for inside in graph.node:
            names += [name for name in read_names(inside) if name not in inner]
            inner.update(inside.output)
        names += [output.name for output in graph.output if output.name not in inner]
    return list(dict.fromkeys(names))


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def needed_nodes(graph: onnx.GraphProto, wanted: Collection[str], known: Collection[str] = ()) -> list[onnx.NodeProto]:
    """The nodes that some values depend on, in the model's order; what is `known` needs none."""
    needed, found = set(wanted) - set(known), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(set(read_names(node)) - set(known))
            found.append(node)
    return found[::-1]


def segments(
    graph: onnx.GraphProto, wanted: Collection[str], sizes: Mapping[str, int], budget: int
) -> Iterator[Segment]:
    """The nodes that `wanted` depends on, cut where the results in one piece would take more than `budget` bytes.

    sizes: bytes of each value. A single node is never cut. Raises UnsupportedModelError where a node reads what comes
    after it.
    """
    nodes = needed_nodes(graph, wanted)
    pieces = list(_pieces(nodes, sizes, budget))
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    available = {v.name for v in graph.input} | constants
    reads = []
    for piece in pieces:
        reads.append(tuple(name for name in _outside(piece) if name not in constants))
        if missing := set(reads[-1]) - available:
            raise UnsupportedModelError(f"the nodes are in no order: {min(missing)!r} is read before it is made")
        available.update(name for node in piece for name in node.output)
    for index, piece in enumerate(pieces):
        used = set(wanted).union(*reads[index + 1 :])
        makes = tuple(name for node in piece for name in node.output if name and name in used)
        yield Segment(tuple(piece), reads[index], makes)


def _pieces(nodes: Iterable[onnx.NodeProto], sizes: Mapping[str, int], budget: int) -> Iterator[list[onnx.NodeProto]]:
    piece: list[onnx.NodeProto] = []
    filled = 0
    for node in nodes:
        size = sum(sizes.get(name, 0) for name in node.output)
        if piece and filled + size > budget:
            yield piece
            piece, filled = [], 0
        piece.append(node)
        filled += size
    if piece:
        yield piece


def _outside(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """What nodes read that none of them makes."""
    made = {name for node in nodes for name in node.output}
    return [name for name in dict.fromkeys(n for node in nodes for n in read_names(node)) if name not in made]


def model_of(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, int],
    outputs: Iterable[str],
    lent: Collection[str] = (),
) -> onnx.ModelProto:
    """A model of some nodes of another, with the initializers that they read.

    inputs: element types by name. lent: initializers of which the session is handed the data, see `Reference`.
    """
    reads = set(_outside(nodes))
    read = [t for t in model.graph.initializer if t.name in reads and t.name not in inputs]
    graph = onnx.GraphProto(name=model.graph.name or "segment")
    graph.node.extend(nodes)
    graph.initializer.extend(_without_data(t) if t.name in lent else t for t in read)
    graph.sparse_initializer.extend(t for t in model.graph.sparse_initializer if t.values.name in reads)
    graph.input.extend(onnx.helper.make_tensor_value_info(name, code, None) for name, code in inputs.items())
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return _like(model, graph)


def _like(model: onnx.ModelProto, graph: onnx.GraphProto) -> onnx.ModelProto:
    return onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions, graph=graph
    )


def _without_data(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The same as if its data were in a file."""
    location = onnx.StringStringEntryProto(key="location", value="lent")
    external = onnx.TensorProto.EXTERNAL
    return onnx.TensorProto(
        name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, data_location=external, external_data=[location]
    )


def value_sizes(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> dict[str, int]:
    """About how many bytes each value of a model takes for some inputs.

    A value of which inference does not tell the size is taken to be as large as the largest its node reads; weights
    do not count.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(_without_weights(model, feed), data_prop=True).graph
    sizes = {value.name: _bytes(value.type.tensor_type) for value in (*inferred.input, *inferred.value_info)}
    for node in model.graph.node:
        largest = max((sizes.get(name) or 0 for name in node.input if name not in weights), default=0)
        sizes.update({name: largest for name in node.output if sizes.get(name) is None})
    return {name: size or 0 for name, size in sizes.items()}


def _without_weights(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The model with the feed's shapes for its inputs, and larger constants as inputs too."""
    graph = onnx.GraphProto(name="sizes")
    graph.node.extend(model.graph.node)
    for value in model.graph.input:
        if value.name in feed:
            code = value.type.tensor_type.elem_type
            graph.input.append(onnx.helper.make_tensor_value_info(value.name, code, feed[value.name].shape))
    for tensor in model.graph.initializer:
        if is_large(tensor):
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    return _like(model, graph)


def is_large(tensor: onnx.TensorProto) -> bool:
    """Whether it is data, rather than a shape or a number that says what is computed."""
    return bool(math.prod(tensor.dims) > _INFERRED)


def _bytes(tensor: onnx.TypeProto.Tensor) -> int | None:
    if not tensor.elem_type or not tensor.HasField("shape"):
        return None
    dims = [int(dim.dim_value) for dim in tensor.shape.dim if dim.HasField("dim_value")]
    if len(dims) != len(tensor.shape.dim):
        return None
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    return math.prod(dims) * int(itemsize)
