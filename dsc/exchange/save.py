"""Write a graph as an ONNX file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from dsc.errors import UsageError
from dsc.exchange.exporter import export_model, inline_tensor
from dsc.files import is_stream, writing
from dsc.ir import Graph, WeightOp

MAX_INSIDE = 1_500_000_000
"""Bytes of weights up to which they are inside the file; protobuf ends at 2 GB."""

DATA_BESIDE = ".data"
"""What the name of the file of weights has behind the model's."""

_ALIGNMENT = 4096


def save_model(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write `path`, and `path.data` beside it when the weights are more than `MAX_INSIDE` bytes.

    What was there is replaced only once everything is written. Raises UsageError if it cannot be written.
    """
    target = Path(path)
    total = sum(graph.weights.nbytes(op.weight) for op in graph.module.walk() if isinstance(op, WeightOp))
    if total <= MAX_INSIDE:
        with writing(target) as file:
            file.write(export_model(graph).SerializeToString())
    elif is_stream(target):
        raise UsageError(f"cannot write {target}: {total} bytes of weights need a file beside the model; name a file")
    else:
        data = target.with_name(target.name + DATA_BESIDE)
        with writing(target) as file, writing(data) as beside:
            file.write(_with_data_in(beside, data.name, graph).SerializeToString())


def _with_data_in(file: BinaryIO, name: str, graph: Graph) -> onnx.ModelProto:
    """The model, its weights written to `file`, which is called `name`."""

    def external(weight: str, array: np.ndarray) -> onnx.TensorProto:
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        tensor = inline_tensor(weight, array)
        place = {"location": name, "offset": file.tell(), "length": len(tensor.raw_data)}
        file.write(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    return export_model(graph, tensor=external)
