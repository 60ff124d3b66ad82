"""The value of one op on constants, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
from xdsl.ir import SSAValue

from dsc.errors import DscError
from dsc.exchange.exporter import export_model
from dsc.ir import Graph, OnnxOp, tensor


class EvaluationError(DscError):
    """ONNX Runtime cannot compute an op: it has no kernel for these types, or the operands do not fit."""


def evaluate(op: OnnxOp, operands: Mapping[SSAValue, np.ndarray]) -> list[np.ndarray]:
    """The results of an op without regions, given the values of its operands. Raises EvaluationError."""
    distinct = list(dict.fromkeys(op.operands))
    arrays = [np.require(operands[v], requirements=["A", "C"]) for v in distinct]
    graph = Graph.build([(f"x{i}", tensor(a.dtype, a.shape)) for i, a in enumerate(arrays)])
    copy = op.clone(value_mapper=dict(zip(distinct, graph.inputs, strict=True)))
    graph.body.add_op(copy)
    graph.set_outputs([(f"y{i}", result) for i, result in enumerate(copy.results)])
    try:
        session = onnxruntime.InferenceSession(
            export_model(graph).SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )
        feeds = {f"x{i}": a for i, a in enumerate(arrays)}
        results: list[np.ndarray] = session.run(None, feeds)
    except Exception as error:  # ONNX Runtime raises classes of its own, and RuntimeError, with no common base
        raise EvaluationError(f"{op.name} cannot be evaluated: {error}") from error
    return results


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return options
