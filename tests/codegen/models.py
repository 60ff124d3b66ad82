"""Small ONNX models for tests that compile and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

Dims = Sequence[int | str]


def node_model(
    op: str,
    inputs: Mapping[str, tuple[type, Dims]],
    constants: Mapping[str, np.ndarray] | None = None,
    output: tuple[type, int] = (np.float32, 1),
    opset: int = 21,
    order: Sequence[str] | None = None,
    **attributes: object,
) -> onnx.ModelProto:
    """One node, named "the node", whose result "y" has free dims.

    output: its element type and rank. order: of the operands, if not inputs, then constants; "" for an absent one.
    """
    constants = constants or {}
    node = helper.make_node(op, order or [*inputs, *constants], ["y"], name="the node", **attributes)
    return model([node], inputs, {"y": (output[0], [f"y{axis}" for axis in range(output[1])])}, constants, opset)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[type, Dims]],
    outputs: Mapping[str, tuple[type, Dims]],
    constants: Mapping[str, np.ndarray] | None = None,
    opset: int = 21,
) -> onnx.ModelProto:
    """A model of some nodes."""

    def infos(values: Mapping[str, tuple[type, Dims]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(dims))
            for name, (dtype, dims) in values.items()
        ]

    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "model", infos(inputs), infos(outputs), weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
