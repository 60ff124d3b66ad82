"""Read a model: the bytes become a small ModelProto without weights, and the weights as mapped arrays beside
it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnx.numpy_helper
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from dsc.errors import UnsupportedModelError, UsageError
from dsc.exchange.external import Files, map_file
from dsc.exchange.payload import array_of_bytes, array_of_sparse, array_of_tensor
from dsc.exchange.wire import DOUBLE_DATA, FLOAT_DATA, RAW_DATA, Cut, Place, cut_payloads

INLINE_BYTES = 1024
"""Tensors up to this size stay in the proto, where shape inference can read them."""

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.COMPLEX64)
_DOUBLES = (onnx.TensorProto.DOUBLE, onnx.TensorProto.COMPLEX128)

ModelSource: TypeAlias = str | os.PathLike[str] | bytes | onnx.ModelProto


@dataclass(frozen=True)
class Source:
    """A model as read: `weights` replace the initializers (and big Constant nodes) of the same names in
    `proto.graph`.

    `name` says where it came from, for messages.
    """

    proto: onnx.ModelProto
    weights: dict[str, np.ndarray]
    name: str
    external: tuple[Path, ...] = ()
    """The external data files that were read."""


def read_model(source: ModelSource) -> Source:
    """Read a model from a path, serialized bytes or a ModelProto.

    Every top-level initializer becomes an entry of `weights`, and is taken out of the proto if it is larger
    than `INLINE_BYTES`. A path is mapped, and so are external data files in its folder. Raises UsageError if
    it cannot be read and UnsupportedModelError if it is no model.
    """
    if isinstance(source, onnx.ModelProto):
        data, files, name = memoryview(_serialize(source)), Files(None), source.graph.name or "model"
    elif isinstance(source, bytes):
        data, files, name = memoryview(source), Files(None), "model"
    elif not isinstance(source, str | os.PathLike):
        raise UsageError(f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}")
    else:
        path = Path(source)
        data, files, name = map_file(path), Files(path.parent), str(path)
    try:
        slim, cuts = cut_payloads(data, INLINE_BYTES)
        proto = _parse(slim)
        weights = _take_weights(proto, cuts, data, files)
        _internalize(proto, files)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{name}: {error}") from error
    return Source(proto, weights, name, files.mapped)


def _serialize(model: onnx.ModelProto) -> bytes:
    try:
        data: bytes = model.SerializeToString()
        return data
    except (ValueError, EncodeError) as error:
        raise UnsupportedModelError(
            f"the ModelProto cannot be serialized (larger than 2 GB, or nested too deeply): pass a path: {error}"
        ) from error


def _parse(data: bytes) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise UnsupportedModelError(f"not an ONNX model, or subgraphs nested too deeply: {error}") from error
    if not proto.HasField("graph") or not proto.ir_version:
        raise UnsupportedModelError("not an ONNX model: no graph or IR version in it")
    return proto


def _take_weights(
    proto: onnx.ModelProto, cuts: dict[Place, Cut], data: memoryview, files: Files
) -> dict[str, np.ndarray]:
    graph = proto.graph
    found: list[tuple[str, np.ndarray]] = []
    kept = []
    for index, tensor in enumerate(graph.initializer):
        array = _array(tensor, cuts.get(Place(index, None)), data, files)
        found.append((tensor.name, array))
        if array.nbytes <= INLINE_BYTES:
            kept.append(_inline(tensor, array))
    found += [(sparse.values.name, array_of_sparse(sparse)) for sparse in graph.sparse_initializer]
    found += _take_constants(graph, {place: cut for place, cut in cuts.items() if place.attribute is not None}, data)
    del graph.initializer[:]
    del graph.sparse_initializer[:]
    graph.initializer.extend(kept)
    weights = dict(found)
    if len(weights) != len(found):
        names = [name for name, _ in found]
        raise UnsupportedModelError(f"two initializers are named {max(names, key=names.count)!r}")
    return weights


def _take_constants(graph: onnx.GraphProto, cuts: dict[Place, Cut], data: memoryview) -> list[tuple[str, np.ndarray]]:
    """Turn Constant nodes with cut payloads into weights; give other nodes' payloads back."""
    found, gone = [], []
    for place, cut in cuts.items():
        node = graph.node[place.index]
        tensor = node.attribute[place.attribute or 0].t
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.output) == 1:
            found.append((node.output[0], _cut_array(tensor, cut, data)))
            gone.append(place.index)
        else:
            tensor.raw_data = bytes(_cut_array(tensor, cut, data))
    for index in sorted(gone, reverse=True):
        del graph.node[index]
    return found


def _array(tensor: onnx.TensorProto, cut: Cut | None, data: memoryview, files: Files) -> np.ndarray:
    if cut is not None:
        return _cut_array(tensor, cut, data)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return array_of_bytes(tensor, files.bytes_of(tensor))
    return array_of_tensor(tensor)


def _cut_array(tensor: onnx.TensorProto, cut: Cut, data: memoryview) -> np.ndarray:
    fits = {FLOAT_DATA: _FLOATS, DOUBLE_DATA: _DOUBLES}
    if cut.field != RAW_DATA and tensor.data_type not in fits[cut.field]:
        raise UnsupportedModelError(f"weight {tensor.name!r} has its data in the field of another type")
    return array_of_bytes(tensor, data[cut.offset : cut.offset + cut.length])


def _inline(tensor: onnx.TensorProto, array: np.ndarray) -> onnx.TensorProto:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return onnx.numpy_helper.from_array(array, tensor.name)
    return tensor


def _internalize(proto: onnx.ModelProto, files: Files) -> None:
    """Load what external data is left (in attributes and subgraphs) into the proto."""
    bodies = [proto.graph.node, *(function.node for function in proto.functions)]
    for tensor in (t for nodes in bodies for t in _tensors(nodes)):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            data = files.bytes_of(tensor)
            array_of_bytes(tensor, data)
            tensor.raw_data = bytes(data)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")


def _tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (a for node in nodes for a in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
            yield from graph.initializer
            yield from _tensors(graph.node)
