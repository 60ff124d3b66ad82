"""Models with operators of domain com.mine, in ONNX's text form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser


def model(graph: str, weights: Mapping[str, np.ndarray] | None = None, version: int | None = 1) -> onnx.ModelProto:
    """The model of a graph, e.g. ``(float[n] x) => (float[n] y) { y = com.mine.Swoosh(x) }``; version: of com.mine."""
    proto = onnx.ModelProto(ir_version=10, graph=onnx.parser.parse_graph(f"m {graph}"))
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in (weights or {}).items())
    proto.opset_import.append(onnx.helper.make_opsetid("", 20))
    if version is not None:
        proto.opset_import.append(onnx.helper.make_opsetid("com.mine", version))
    return proto


SWOOSH = "(float[n,8] x) => (float[n,8] y) { y = com.mine.Swoosh(x) }"


def swooshed(x: np.ndarray, beta: float = 1.5) -> np.ndarray:
    """What Swoosh computes."""
    return x / (1 + np.exp(-beta * x))
