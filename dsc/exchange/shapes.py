"""Pin input shapes and infer all others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx.helper
import onnx.shape_inference

from dsc.errors import UnsupportedModelError, UsageError

_LOG = logging.getLogger(__name__)

Shapes = Mapping[str, Sequence[int | str]]
_MAX_SIZE = 2**31 - 1
"""Of a dim: a tensor of more elements in one direction is a mistake."""


def checked_shapes(shapes: object) -> dict[str, list[int | str]]:
    """Shapes by input as plain numbers and names. Raises UsageError for what is none, whether or not it would fit."""
    if not isinstance(shapes, Mapping):
        raise UsageError(f"shapes must be the dims of inputs by name, as {{'x': [1, 3, 224, 224]}}, not {shapes!r}")
    return {_input_name(name): _checked_dims(name, dims) for name, dims in shapes.items()}


def _input_name(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"shapes are told by the names of inputs, {name!r} is none")
    return name


def _checked_dims(name: object, dims: object) -> list[int | str]:
    if isinstance(dims, str) or not isinstance(dims, Iterable):
        raise UsageError(f"input {name!r}: {dims!r} is no shape, as [1, 3, 224, 224] is one")
    return [_checked_dim(name, dim) for dim in dims]


def _checked_dim(name: object, dim: object) -> int | str:
    if isinstance(dim, str) and dim:
        return dim
    if isinstance(dim, int | np.integer) and not isinstance(dim, bool) and 0 <= dim <= _MAX_SIZE:
        return int(dim)
    raise UsageError(f"input {name!r}: {dim!r} is neither a size nor a name")


def pin_shapes(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Give inputs the shapes the user asked for: a size for each dim, or a name for one that stays symbolic.

    Pinning a dim that has a name pins that name everywhere. Raises UsageError for unknown inputs, another
    rank, a size that differs from the model's fixed one, or one name pinned to two sizes.
    """
    inputs = {v.name: v for v in graph.input}
    pinned: dict[str, int | str] = {}
    for name, wanted in shapes.items():
        if name not in inputs:
            raise UsageError(f"the model has no input {name!r}; it has {', '.join(map(repr, inputs)) or 'none'}")
        _pin(inputs[name], list(wanted), pinned)
    for dim in _dims(graph):
        if dim.dim_param in pinned:
            _set(dim, pinned[dim.dim_param])


def _pin(value: onnx.ValueInfoProto, wanted: list[int | str], pinned: dict[str, int | str]) -> None:
    tensor = value.type.tensor_type
    said = f"input {value.name!r}: shape {'x'.join(map(str, wanted))}"
    if not value.type.HasField("tensor_type"):
        raise UsageError(f"{said} asked for, but it is not a tensor")
    if not tensor.HasField("shape"):
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in wanted)
    has = [_said(d) for d in tensor.shape.dim]
    if len(has) != len(wanted):
        raise UsageError(f"{said} has {len(wanted)} dims, but the model's is {has}")
    for dim, old, new in zip(tensor.shape.dim, has, wanted, strict=True):
        if isinstance(old, int) and old != new:
            raise UsageError(f"{said} asked for, but the model's is fixed to {has}")
        if isinstance(old, str) and old != "?" and pinned.setdefault(old, new) != new:
            raise UsageError(f"{said}: dim {old!r} is {new} here, but {pinned[old]} elsewhere")
        _set(dim, new)


def _said(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"


def _set(dim: onnx.TensorShapeProto.Dimension, to: int | str) -> None:
    if isinstance(to, int):
        dim.dim_value = to
    else:
        dim.dim_param = to


def _dims(graph: onnx.GraphProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for value in (*graph.input, *graph.output):
        yield from value.type.tensor_type.shape.dim


def infer_shapes(model: onnx.ModelProto, *, keep_hints: bool) -> onnx.ModelProto:
    """The model with the types of all values as far as ONNX can tell them.

    keep_hints: whether shapes written in the model (`value_info`) are believed where inference knows nothing;
    they are wrong once inputs were pinned. The declared shapes of outputs are likewise only believed where
    inference knows nothing; a warning says where they differ, as those of exporters with older rules for pools do.
    Raises UnsupportedModelError where operands do not fit an operator.
    """
    hints = {v.name: v for v in model.graph.value_info}
    del model.graph.value_info[:]
    declared = {v.name: _dims_of(v) for v in model.graph.output}
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
            if not value.type.tensor_type.elem_type:
                value.ClearField("type")
    typed = _inferred(model)
    for value in typed.graph.output:
        _declare(value, declared[value.name])
    if keep_hints:
        known = {v.name for v in typed.graph.value_info}
        typed.graph.value_info.extend(v for name, v in hints.items() if name not in known)
    return typed


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """What ONNX infers, with the values of shapes where it can compute them: it gives up where these overflow."""
    errors: list[Exception] = []
    for propagates in (True, False):
        try:
            typed: onnx.ModelProto = onnx.shape_inference.infer_shapes(
                model, check_type=True, strict_mode=True, data_prop=propagates
            )
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
            errors.append(error)
        else:
            return typed
    raise UnsupportedModelError(f"the model's shapes or types do not fit together: {errors[0]}") from errors[0]


def _dims_of(value: onnx.ValueInfoProto) -> list[int | str] | None:
    tensor = value.type.tensor_type
    return [_said(d) for d in tensor.shape.dim] if tensor.HasField("shape") else None


def _declare(value: onnx.ValueInfoProto, declared: list[int | str] | None) -> None:
    """Complete what was inferred of an output by what the model says of it; the first is right where they differ."""
    if declared is None or not value.type.HasField("tensor_type"):
        return
    inferred = _dims_of(value)
    dims = value.type.tensor_type.shape.dim
    if inferred is None:
        dims.extend(onnx.TensorShapeProto.Dimension() for _ in declared)
    elif len(inferred) != len(declared) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(inferred, declared, strict=True)
    ):
        _LOG.warning("output %r is declared as %s, but is %s", value.name, declared, inferred)
    if len(dims) == len(declared):
        for dim, said in zip(dims, declared, strict=True):
            if not dim.HasField("dim_value") and said != "?":
                _set(dim, said)
