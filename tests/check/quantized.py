"""Quantizing by hand: what a test knows of a quantized model it has put there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

Grid = tuple[float, int]
"""Scale, and zero point of uint8."""


def quantized_by_hand(proto: onnx.ModelProto, grids: Mapping[str, Grid]) -> onnx.ModelProto:
    """The model with tensors rounded to grids for all that read them; their names stay."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    nodes, renamed = [], {}
    for name in (v.name for v in copy.graph.input):
        nodes += _restored(copy, name, grids, renamed)
    for node in proto.graph.node:
        added = onnx.NodeProto()
        added.CopyFrom(node)
        added.input[:] = [renamed.get(name, name) for name in node.input]
        nodes.append(added)
        for name in node.output:
            nodes += _restored(copy, name, grids, renamed)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _restored(
    copy: onnx.ModelProto, name: str, grids: Mapping[str, Grid], renamed: dict[str, str]
) -> list[onnx.NodeProto]:
    if name not in grids:
        return []
    scale, zero = grids[name]
    for end, array in (("scale", np.float32(scale)), ("zero", np.uint8(zero))):
        copy.graph.initializer.append(numpy_helper.from_array(np.asarray(array), f"{name}.{end}"))
    parameters = [f"{name}.scale", f"{name}.zero"]
    renamed[name] = f"{name}.dq"
    return [
        helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}.q"]),
        helper.make_node("DequantizeLinear", [f"{name}.q", *parameters], [f"{name}.dq"]),
    ]
