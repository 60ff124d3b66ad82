"""Products of bytes in ONNX Runtime as they are meant.

Its kernel of unsigned by signed bytes adds pairs of products in 16 bits on x86 without VNNI, where they saturate. Its
kernel of unsigned by unsigned bytes does not.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnx.numpy_helper

from dsc.check.segments import read_names
from dsc.exchange.names import unique

_RIGHT = {"MatMulInteger": (1, 3), "QLinearMatMul": (3, 5)}
"""By operator: the operands that are the right factor and its zero point."""
_MIDDLE = 128


def without_saturation(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with constant right factors of int8 as uint8, their zero points 128 higher, which is the same numbers.

    The model itself where there are none. Factors whose data is in another file, and nodes inside of control flow, are
    left as they are; functions that have such products are inlined.
    """
    if any(node.op_type in _RIGHT for function in model.functions for node in function.node):
        model = onnx.inliner.inline_local_functions(model)
    constants = _signed_bytes(model.graph)
    if not any(_is_signed(node, constants) for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    taken = {name for node in made.graph.node for name in (*read_names(node), *node.output)}
    for node in made.graph.node:
        if _is_signed(node, constants):
            factor, zero = _RIGHT[node.op_type]
            node.input.extend([""] * (zero + 1 - len(node.input)))
            zeros = constants[node.input[zero]] if node.input[zero] else np.zeros((), np.int8)
            names = [unique(f"{node.output[0]}_{what}_unsigned", taken) for what in ("factor", "zero_point")]
            arrays = [_unsigned(array) for array in (constants[node.input[factor]], zeros)]
            made.graph.initializer.extend(map(onnx.numpy_helper.from_array, arrays, names))
            node.input[factor], node.input[zero] = names
    return made


def _signed_bytes(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The constants of int8 by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            found.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    return {
        name: onnx.numpy_helper.to_array(tensor)
        for name, tensor in found.items()
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.data_location != onnx.TensorProto.EXTERNAL
    }


def _is_signed(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> bool:
    """Whether a node's right factor is constant and signed, with a zero point that is constant or none."""
    if node.op_type not in _RIGHT or node.domain not in ("", "ai.onnx"):
        return False
    factor, zero = _RIGHT[node.op_type]
    has_zero = len(node.input) > zero and bool(node.input[zero])
    return node.input[factor] in constants and (not has_zero or node.input[zero] in constants)


def _unsigned(signed: np.ndarray) -> np.ndarray:
    return (signed.astype(np.int16) + _MIDDLE).astype(np.uint8)
