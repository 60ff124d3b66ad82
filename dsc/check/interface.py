"""What an ONNX model takes, as it says itself."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.shape_inference

from dsc.elements import ELEMENT_TYPES
from dsc.errors import UnsupportedModelError
from dsc.exchange.read import read_model
from dsc.runtime import TensorSpec

_DTYPES = {element.code: element.dtype.name for element in ELEMENT_TYPES}


def load_model(path: Path) -> onnx.ModelProto:
    """A model with its weights, external ones included. Raises what `import_model` raises where it is none."""
    read_model(path)  # says what is wrong with it
    return onnx.load(path)


def constant_names(model: onnx.ModelProto) -> set[str]:
    """The values of a model that are the same in each run: initializers, and results of Constant nodes."""
    graph = model.graph
    stored = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return stored | {node.output[0] for node in graph.node if node.op_type == "Constant" and not node.domain}


def computed_names(model: onnx.ModelProto) -> list[str]:
    """The tensors that a model is given and those that its nodes compute, constants excepted."""
    constants = constant_names(model)
    made = [name for node in model.graph.node for name in node.output if name]
    names = dict.fromkeys([*(value.name for value in model.graph.input), *made])
    return [name for name in names if name not in constants]


def element_codes(model: onnx.ModelProto) -> dict[str, int]:
    """The element types of a model's tensors by name, as `TensorProto.DataType`; of those that ONNX can tell."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


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
    """A size, a name, or None for a dim of neither; some exporters write "?" or -1 for that."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return str(dim.dim_param) if dim.dim_param not in ("", "?") else None
