"""Normalizations and quantization: a parameter for each channel, or for each element that is normalized."""

from __future__ import annotations

from collections.abc import Iterator

from tvm import te

from dsc.ir import onnx
from dsc.lower.exprs import Dim, ceildiv
from dsc.lower.registry import Call
from dsc.lower.requirements.requirement import (
    Requirement,
    at_least,
    equal,
    multiple,
    one_way,
    requires,
    same_shape,
    shape_of,
)
from dsc.lower.tensors import normalize_axis


@requires(onnx.LayerNormalization, onnx.RMSNormalization)
def layer_norm(call: Call) -> Iterator[Requirement]:
    """Scale and bias are repeated to the shape of X."""
    x, *parameters = call.inputs
    for parameter, what in zip(parameters, ("the scale", "the bias"), strict=False):
        if parameter is not None:
            yield from one_way(shape_of(parameter), shape_of(x), what)


@requires(onnx.BatchNormalization, onnx.InstanceNormalization, onnx.GroupNormalization)
def of_channels(call: Call) -> Iterator[Requirement]:
    """Parameters have one number for each channel; channels divide into groups."""
    x, *parameters = call.inputs
    shape = shape_of(x)
    channels: Dim = shape[1] if len(shape) > 1 else 1
    for parameter, what in zip(parameters, ("the scale", "the bias", "the mean", "the variance"), strict=False):
        yield equal(shape_of(parameter)[0], channels, f"the length of {what} and the channels")
    if call.name == "GroupNormalization":
        yield multiple(channels, call.attr("num_groups"), "the channels, in groups,")


@requires(onnx.QuantizeLinear, onnx.DequantizeLinear)
def quantize(call: Call) -> Iterator[Requirement]:
    """Scales and zero points are single, of an axis, or of blocks of it."""
    x, *parameters = call.inputs
    for parameter, what in zip(parameters, ("the scale", "the zero point"), strict=True):
        if parameter is not None:
            yield from _parameter(call, x, parameter, what)


def _parameter(call: Call, x: te.Tensor, parameter: te.Tensor, what: str) -> Iterator[Requirement]:
    shape, given = shape_of(x), shape_of(parameter)
    axis = normalize_axis(call.attr("axis", 1), len(shape))
    if len(given) == 1 and not (isinstance(given[0], int) and given[0] == 1):
        yield equal(given[0], shape[axis], f"the length of {what} and dim {axis} of x")
    elif len(given) > 1:
        block = call.attr("block_size", 0)
        yield at_least(block, 1, "block_size")
        blocks = [ceildiv(d, block) if a == axis and block else d for a, d in enumerate(shape)]
        yield from same_shape(given, blocks, f"{what} and the blocks of x")


@requires(onnx.ArgMax, onnx.ArgMin)
def arg_max(call: Call) -> Iterator[Requirement]:
    """There is an extreme."""
    shape = shape_of(call.inputs[0])
    yield at_least(shape[call.attr("axis")], 1, "the dim of the axis")
