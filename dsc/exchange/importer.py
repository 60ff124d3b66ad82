"""import_model: every step from a file to the IR."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.helper

from dsc.errors import UnsupportedModelError
from dsc.exchange.build import build_graph
from dsc.exchange.functions import inline_functions
from dsc.exchange.lenient import standardize
from dsc.exchange.read import ModelSource, read_model
from dsc.exchange.shapes import Shapes, checked_shapes, infer_shapes, pin_shapes
from dsc.exchange.upgrade import opset_of, upgrade_model
from dsc.exchange.validate import check, check_operators, check_text, check_versions
from dsc.ir import Graph


def import_model(source: ModelSource, *, shapes: Shapes | None = None) -> Graph:
    """Read an ONNX model into the IR: checked, functions inlined, at the canonical opset, with types.

    source: a path (mapped: weights are not read before they are needed), serialized bytes, or a ModelProto.
    shapes: for some inputs the size or name of each dim, e.g. {"input": [1, 3, 224, 224]}. An initializer that the
    model also lists as an input is a constant, unless it is named here.
    Raises UsageError for a file that cannot be read or shapes that do not fit, and UnsupportedModelError for
    a model that is broken, hostile, or uses operators that neither ONNX's default domain nor a plugin has (all listed).
    """
    wanted = checked_shapes(shapes or {})
    read = read_model(source)
    try:
        return _import(read.proto, read.weights, wanted)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{read.name}: {error}") from error


def _import(model: onnx.ModelProto, weights: Mapping[str, np.ndarray], shapes: Shapes) -> Graph:
    weights = _constants(model.graph, weights, shapes)
    _weights_as_inputs(model.graph, weights)
    opset_of(model.opset_import)
    check_text(model)
    standardize(model)
    check_versions(model)
    check(model)
    model = inline_functions(model)
    upgrade_model(model)
    check_operators(model.graph)
    _forget_placeholders(model.graph)
    pin_shapes(model.graph, shapes)
    model = infer_shapes(model, keep_hints=not shapes)
    return build_graph(model, weights)


def _constants(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray], shapes: Shapes) -> Mapping[str, np.ndarray]:
    """The weights without those that `shapes` makes inputs.

    An initializer that is also an input may be overridden at run time (its value is a default), but exporters list
    all weights so, and what may change is not packed, folded or fused. So these are constants unless asked for.
    """
    declared = {v.name for v in graph.input}
    free = {name for name in shapes if name in weights and name in declared}
    kept = [t for t in graph.initializer if t.name not in free]
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)
    return {name: array for name, array in weights.items() if name not in free}


def _weights_as_inputs(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]) -> None:
    """Declare what was taken out as inputs, so that the model stays valid and its types stay known."""
    inside = {t.name for t in graph.initializer}
    declared = {v.name for v in graph.input}
    for name, array in weights.items():
        if name not in inside and name not in declared:
            code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, code, array.shape))


def _forget_placeholders(graph: onnx.GraphProto) -> None:
    """Some exporters write -1, or the name "?", for any dim of any size."""
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0 or dim.dim_param == "?":
                dim.Clear()
