"""Write a graph as an ONNX file, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from dsc.errors import UsageError
from dsc.exchange.exporter import export_model, inline_tensor
from dsc.ir import Graph, WeightOp

MAX_INSIDE = 1_500_000_000
"""Bytes of weights up to which they are inside the file; protobuf ends at 2 GB."""

_ALIGNMENT = 4096


def save_model(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write `path`, and `path.data` beside it when the weights are more than `MAX_INSIDE` bytes.

    What was there is replaced only once everything is written. Raises UsageError if it cannot be written.
    """
    target = Path(path)
    total = sum(graph.weights.nbytes(op.weight) for op in graph.module.walk() if isinstance(op, WeightOp))
    try:
        if total <= MAX_INSIDE:
            model = export_model(graph)
        else:
            model = _with_data_beside(graph, target.with_name(target.name + ".data"))
        _replace(target, lambda file: file.write(model.SerializeToString()))
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from error


def _with_data_beside(graph: Graph, data: Path) -> onnx.ModelProto:
    models = []

    def write(file: BinaryIO) -> None:
        def external(name: str, array: np.ndarray) -> onnx.TensorProto:
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            tensor = inline_tensor(name, array)
            place = {"location": data.name, "offset": file.tell(), "length": len(tensor.raw_data)}
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            return tensor

        models.append(export_model(graph, tensor=external))

    _replace(data, write)
    return models[0]


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file aside, then rename it to `path`."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
