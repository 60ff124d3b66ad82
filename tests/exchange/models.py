"""Small ONNX models for the tests, and ONNX Runtime as the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime

Dims = Sequence[int | str | None]


def value(name: str, dims: Dims | None, dtype: Any = np.float32) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dims)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    initializers = [onnx.numpy_helper.from_array(a, n) for n, a in (weights or {}).items()]
    graph = onnx.helper.make_graph(nodes, "test", inputs, outputs, initializers)
    imports = [onnx.helper.make_opsetid("", opset), *(onnx.helper.make_opsetid(d, 1) for d in domains)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


node = onnx.helper.make_node


def run(proto: onnx.ModelProto | str, feeds: Mapping[str, Any]) -> list[Any]:
    """Outputs by ONNX Runtime, without its graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = proto if isinstance(proto, str) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal up to rounding: ONNX Runtime's kernels for other opsets add up in another order."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for f, e in zip(found, expected, strict=True):
            assert_close(f, e, tolerance)
    elif expected is None or expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(found, expected)
    else:
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(found.astype(wide), expected.astype(wide), rtol=tolerance, atol=tolerance)
