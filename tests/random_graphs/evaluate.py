"""One node on the references: ONNX Runtime, and ONNX's own evaluator where that has no kernel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

OPSET, IR_VERSION = 22, 10
Arrays = list[np.ndarray]
FORMULAS: dict[str, Callable[[Arrays], Arrays]] = {
    "Erf": lambda operands: [np.vectorize(math.erf, otypes=["d"])(operands[0])],
    "Sigmoid": lambda operands: [1 / (1 + np.exp(-operands[0]))],
    "Softplus": lambda operands: [np.logaddexp(0, operands[0])],
    "Mish": lambda operands: [operands[0] * np.tanh(np.logaddexp(0, operands[0]))],
}
"""Functions whose tails, or whose second half of places, the references lose."""
_CLOSE = {"rtol": 1e-2, "atol": 1e-3, "equal_nan": True}


class Rejected(Exception):  # noqa: N818 (not an error: the generator tries something else)
    """The node means nothing, or nothing that all agree on, for these operands."""


def references(node: onnx.NodeProto, operands: Sequence[np.ndarray | None]) -> list[Callable[[Arrays], Arrays]]:
    """The references that know the node, the first one to be trusted: given the operands that are not absent.

    Raises Rejected if there is none, or if they disagree on `operands` (about NaN, mostly): what is right then
    is for the tests of that operator to say.
    """
    model = _one_node(node, operands)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise Rejected from error  # types that the operator does not take
    found = [make(model) for make in (_onnxruntime, _onnx_reference)]
    known = [run for run in found if run is not None]
    present = [a for a in operands if a is not None]
    types = [helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type) for o in inferred.graph.output]
    results, usable = [], []
    for run in known:
        try:
            result = run(present)
            if [r.dtype for r in result] == types:  # numpy widens sums of small integers
                results.append(result)
                usable.append(run)
        except Exception:  # whatever a reference raises: it does not take these operands
            continue
    if not usable or (len(results) == 2 and not _agree(*results)):
        raise Rejected
    return usable


def _one_node(node: onnx.NodeProto, operands: Sequence[np.ndarray | None]) -> onnx.ModelProto:
    inputs = {
        name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(node.input, operands, strict=True)
        if array is not None
    }
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    for value in inputs.values():  # sizes differ from sample to sample
        rank = len(value.type.tensor_type.shape.dim)
        value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension()] * rank))
    graph = helper.make_graph([node], "node", list(inputs.values()), outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _onnxruntime(model: onnx.ModelProto) -> Callable[[Arrays], Arrays] | None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's errors have no common base: it has no kernel for these types
        return None
    names = [i.name for i in session.get_inputs()]

    def run(operands: Arrays) -> Arrays:
        return [np.asarray(r) for r in session.run(None, dict(zip(names, operands, strict=True)))]

    return run


def _onnx_reference(model: onnx.ModelProto) -> Callable[[Arrays], Arrays] | None:
    try:
        evaluator = ReferenceEvaluator(model)
    except Exception:  # it raises many things for what it does not implement
        return None
    names = [i.name for i in model.graph.input]

    def run(operands: Arrays) -> Arrays:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [np.asarray(r) for r in evaluator.run(None, dict(zip(names, operands, strict=True)))]

    return run


def _agree(ours: Arrays, theirs: Arrays) -> bool:
    """Whether two references mean the same; roughly, since they round differently."""
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind in "biu":
            if not np.array_equal(a, b):
                return False
        else:
            a, b = a.astype(np.float64), b.astype(np.float64)
            if not np.allclose(a, b, **_CLOSE):
                return False
    return True
