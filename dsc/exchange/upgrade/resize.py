"""Upsample (opsets 7 and 9) and the Resize of opsets 10 and 11, as today's Resize."""

from __future__ import annotations

import numpy as np

from dsc.exchange.upgrade.edit import Edit, upgrade


@upgrade("Upsample", to=9)
def _upsample_scales(edit: Edit) -> None:
    edit.set_input(1, edit.constant(np.asarray(edit.pop("scales"), np.float32)))


@upgrade("Upsample", "Resize", to=11)
def _asymmetric(edit: Edit) -> None:
    """Before opset 11 an output index is divided by the scale and rounded: down, or up where the axis shrinks.

    So nearest neighbours are taken of the axes that shrink first, then of those that grow.
    """
    shrinks = edit.node.op_type == "Resize" and edit.attribute("mode", "nearest") == "nearest"
    edit.node.op_type = "Resize"
    data, scales = edit.node.input
    if shrinks:
        one = edit.constant(np.float32(1))
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}
        data = edit.emit("Resize", [data, "", edit.emit("Min", [scales, one])], **attributes)
        scales = edit.emit("Max", [scales, one])
    del edit.node.input[:]
    edit.node.input.extend([data, "", scales])
    edit.put("coordinate_transformation_mode", "asymmetric")
    if edit.attribute("mode", "nearest") == "nearest":
        edit.put("nearest_mode", "floor")


@upgrade("Resize", to=13)
def _optional_inputs(edit: Edit) -> None:
    """Since opset 13 what is not used is absent; opset 11 has empty tensors there."""
    mode = edit.attribute("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_half_pixel_for_nn":
        raise edit.refuse(
            "coordinate_transformation_mode tf_half_pixel_for_nn ended with opset 11 and is not supported"
        )
    if mode != "tf_crop_and_resize":
        edit.set_input(1, "")
    has_sizes = len(edit.node.input) > 3 and edit.node.input[3]
    if has_sizes:
        edit.set_input(2, "")
