"""What ONNX Runtime makes of one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 22
"""Its operators are those of the canonical opset as far as these tests go, and ONNX Runtime has them all."""


def run(
    op_type: str, operands: Sequence[np.ndarray | None], attributes: Mapping[str, object], outputs: int = 1
) -> list[np.ndarray]:
    """The results of ONNX Runtime for one node; all operands but the first are constants."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(operands)]
    node = helper.make_node(op_type, names, [f"y{i}" for i in range(outputs)], **attributes)
    first = operands[0]
    assert first is not None, "the first operand is the data"
    kind = helper.np_dtype_to_tensor_dtype(first.dtype)
    graph = helper.make_graph(
        [node],
        op_type,
        [helper.make_tensor_value_info("x0", kind, first.shape)],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.UNDEFINED, None) for i in range(outputs)],
        [numpy_helper.from_array(a, n) for a, n in zip(operands[1:], names[1:], strict=True) if a is not None],
    )
    for output in graph.output:
        output.ClearField("type")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx.ModelProto.SerializeToString(model), options)
    return list(session.run(None, {"x0": first}))
