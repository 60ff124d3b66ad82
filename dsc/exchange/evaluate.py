"""The value of one op on constants, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from xdsl.ir import SSAValue

from dsc.errors import DscError
from dsc.exchange.exporter import export_model
from dsc.ir import Graph, OnnxOp, element_of, element_of_dtype, tensor


class EvaluationError(DscError):
    """ONNX Runtime cannot compute an op: it has no kernel for these types, or the operands do not fit."""


def evaluate(op: OnnxOp, operands: Mapping[SSAValue, np.ndarray]) -> list[np.ndarray]:
    """The results of an op without regions, given the values of its operands. Raises EvaluationError."""
    if op.onnx_schema.domain:
        raise EvaluationError(f"{op.name}: what a plugin's operator computes is not asked of ONNX Runtime")
    if _strays(op, [operands[v] for v in op.operands]):
        raise EvaluationError(f"{op.name}: ONNX Runtime does not compute what ONNX says")
    if any(element_of(result.type).encoding is not None for result in op.results):
        raise EvaluationError(f"{op.name}: ONNX Runtime hands over {op.results[0].type} as another type, or not at all")
    distinct = list(dict.fromkeys(op.operands))
    arrays = {v: np.require(operands[v], requirements=["A", "C"]) for v in distinct}
    given = [v for v in distinct if element_of_dtype(arrays[v].dtype).encoding is None]  # it takes no others from numpy
    graph = Graph.build([(f"x{i}", tensor(arrays[v].dtype, arrays[v].shape)) for i, v in enumerate(given)])
    values: dict[SSAValue, SSAValue] = dict(zip(given, graph.inputs, strict=True))
    for value in distinct:
        if value not in values:
            constant = graph.make_constant(arrays[value])
            graph.body.add_op(constant)
            values[value] = constant.results[0]
    copy = op.clone(value_mapper=values)
    graph.body.add_op(copy)
    graph.set_outputs([(f"y{i}", result) for i, result in enumerate(copy.results)])
    try:
        return evaluate_graph(graph, {f"x{i}": arrays[v] for i, v in enumerate(given)})
    except EvaluationError as error:
        raise EvaluationError(f"{op.name} cannot be evaluated: {error}") from error


def evaluate_graph(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of a small graph. Raises EvaluationError."""
    try:
        session = onnxruntime.InferenceSession(
            export_model(graph).SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )
        results: list[np.ndarray] = session.run(None, dict(feeds))
    except Exception as error:  # ONNX Runtime raises classes of its own, and RuntimeError, with no common base
        raise EvaluationError(str(error)) from error
    return results


def _strays(op: OnnxOp, operands: Sequence[np.ndarray]) -> bool:
    """Whether ONNX Runtime's result is not the one that ONNX defines, or that our kernels give where it defines none.

    Integer powers and sums go through doubles there, divisions and shifts are the processor's, which traps.
    """
    if not operands:
        return False
    first, last = operands[0], operands[-1]
    if op.onnx_name in ("Resize", "GridSample"):
        return True  # sizes, ties and borders
    if op.onnx_name == "Shrink" and first.dtype == np.float64:
        return True  # through float32
    if op.onnx_name in ("Sigmoid", "Gelu"):
        return bool(np.any(first.astype(np.float64) < -1))  # tails without a right digit
    if op.onnx_name == "Cast" and element_of(op.results[0].type).dtype.kind in "iub" and first.dtype.kind not in "iub":
        return bool(np.any(~(np.abs(first.astype(np.float64)) < 128)))  # out of range, or NaN
    if first.dtype.kind not in "iu":
        return False
    match op.onnx_name:
        case "Pow" | "CumSum" | "CumProd":
            return True
        case name if name.startswith("Reduce") and name not in ("ReduceMax", "ReduceMin"):
            return True
        case "Div" | "Mod":
            return bool(np.any(last == 0)) or (last.dtype.kind == "i" and bool(np.any(last == -1)))
        case "BitShift":
            return bool(np.any(last >= 8 * first.dtype.itemsize))
    return False


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return options
