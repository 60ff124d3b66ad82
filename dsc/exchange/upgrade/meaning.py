"""Operators whose meaning, default or set of allowed values changed."""

from __future__ import annotations

import onnx.helper

from dsc.exchange.upgrade.edit import Edit, upgrade
from dsc.ir.onnx import OPSET


@upgrade("Softmax", "LogSoftmax", "Hardmax", to=13)
def _softmax(edit: Edit) -> None:
    """Before opset 13 the input is flattened to a matrix at `axis`, and the operator works on its rows."""
    data = edit.node.input[0]
    axis = edit.pop("axis", 1)
    edit.put("axis", -1)
    if axis == -1 or edit.ranks.get(data) == axis + 1:
        return
    edit.node.input[0] = edit.emit("Flatten", [data], axis=axis)
    shape = edit.emit("Shape", [data])
    flat, out = edit.rename_output()
    edit.after.append(onnx.helper.make_node("Reshape", [flat, shape], [out], name=edit.node.name))


@upgrade("BatchNormalization", to=9)
def _batch_norm_spatial(edit: Edit) -> None:
    if edit.pop("spatial", 1) != 1:
        raise edit.refuse("spatial=0 (opset 7, statistics for each element) is not supported")


@upgrade("BatchNormalization", to=14)
def _batch_norm_outputs(edit: Edit) -> None:
    """Before opset 14 more than one output means training."""
    while len(edit.node.output) > 1 and not edit.node.output[-1]:
        del edit.node.output[-1]
    if len(edit.node.output) > 1:
        raise edit.refuse("it is in training mode (it has outputs for the statistics); export the model for inference")


@upgrade("GroupNormalization", to=21)
def _group_norm(edit: Edit) -> None:
    """Before opset 21 scale and bias have an element for each group, now one for each channel."""
    data = edit.node.input[0]
    groups = edit.int64s([edit.attribute("num_groups")])
    size = edit.emit("Div", [edit.emit("Shape", [data], start=1, end=2), groups])
    shape = edit.emit("Concat", [groups, size], axis=0)
    for index in (1, 2):
        column = edit.emit("Unsqueeze", [edit.node.input[index], edit.int64s([1])])
        spread = edit.emit("Expand", [column, shape])
        edit.node.input[index] = edit.emit("Reshape", [spread, edit.int64s([-1])])


@upgrade("GridSample", to=20)
def _grid_sample(edit: Edit) -> None:
    renamed = {"bilinear": "linear", "bicubic": "cubic"}
    mode = edit.attribute("mode", "bilinear")
    edit.put("mode", renamed.get(mode, mode))


@upgrade("RoiAlign", to=16)
def _roi_align(edit: Edit) -> None:
    edit.put("coordinate_transformation_mode", "output_half_pixel")


@upgrade("Scatter", to=11)
def _scatter(edit: Edit) -> None:
    edit.node.op_type = "ScatterElements"


@upgrade("Scan", to=9)
def _scan(edit: Edit) -> None:
    raise edit.refuse("the batched Scan of opset 8 is not supported; convert the model to opset 9 or newer")


@upgrade("MeanVarianceNormalization", to=OPSET + 1)
def _mean_variance(edit: Edit) -> None:
    """At every opset: ONNX infers types through this operator's function body, which fails where `axes` is
    left to its default.
    """
    edit.put("axes", edit.attribute("axes", [0, 2, 3]))
