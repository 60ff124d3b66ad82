"""A model with its weights in the file, or beside it where they are more than one file takes."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import onnx
import onnx.numpy_helper

from dsc.errors import UsageError
from dsc.exchange.save import DATA_BESIDE, MAX_INSIDE
from dsc.files import is_stream, writing

_LARGE = 1024
"""Bytes of a tensor from which on it is written beside."""


def save_proto(model: onnx.ModelProto, target: Path, most: int = MAX_INSIDE) -> None:
    """Write `target`, and `target.data` beside it when the weights are more than `most` bytes; whole or not at all.

    Raises UsageError where it cannot be written.
    """
    total = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if total <= most:
        with writing(target) as file:
            file.write(model.SerializeToString())
        return
    if is_stream(target):
        raise UsageError(f"cannot write {target}: {total} bytes of weights need a file beside the model; name a file")
    data = target.with_name(target.name + DATA_BESIDE)
    with writing(target) as file, writing(data) as beside:
        file.write(_with_data_in(beside, data.name, model).SerializeToString())


def _with_data_in(file: BinaryIO, name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the data of its large tensors, which are written to `file`, called `name`."""
    made = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            made.MergeFrom(onnx.ModelProto(**{field.name: value}))
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            made.graph.MergeFrom(onnx.GraphProto(**{field.name: value}))
    made.graph.initializer.extend(_placed(file, name, tensor) for tensor in model.graph.initializer)
    return made


def _placed(file: BinaryIO, name: str, tensor: onnx.TensorProto) -> onnx.TensorProto:
    if len(tensor.raw_data) < _LARGE:
        return tensor
    place = {"location": name, "offset": file.tell(), "length": len(tensor.raw_data)}
    file.write(tensor.raw_data)
    external = [onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()]
    return onnx.TensorProto(
        name=tensor.name, dims=tensor.dims, data_type=tensor.data_type,
        data_location=onnx.TensorProto.EXTERNAL, external_data=external,
    )  # fmt: skip
