"""What an ONNX model takes, as it says itself."""

from __future__ import annotations

import onnx

from dsc.elements import ELEMENT_TYPES
from dsc.errors import UnsupportedModelError
from dsc.runtime import TensorSpec

_DTYPES = {element.code: element.dtype.name for element in ELEMENT_TYPES}


def constant_names(model: onnx.ModelProto) -> set[str]:
    """The values of a model that are the same in each run: initializers, and results of Constant nodes."""
    graph = model.graph
    stored = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return stored | {node.output[0] for node in graph.node if node.op_type == "Constant" and not node.domain}


def input_specs(model: onnx.ModelProto) -> list[TensorSpec]:
    """The inputs that a caller gives. Raises UnsupportedModelError for those that are not tensors of known rank."""
    constants = constant_names(model)
    return [_spec(value) for value in model.graph.input if value.name not in constants]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type not in _DTYPES:
        raise UnsupportedModelError(f"input {value.name!r} is no tensor of numbers")
    if not tensor.HasField("shape"):
        raise UnsupportedModelError(f"input {value.name!r} may have any number of dims: the model has to say how many")
    return TensorSpec(value.name, _DTYPES[tensor.elem_type], tuple(map(_dim, tensor.shape.dim)))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    return int(dim.dim_value) if dim.HasField("dim_value") else str(dim.dim_param) or None
