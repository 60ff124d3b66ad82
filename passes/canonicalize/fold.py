"""Constant folding: ops whose operands are all constant, and shape arithmetic whose result is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.traits import is_side_effect_free

from dsc.elements import IntegerEncoding, integer_encoding
from dsc.exchange import EvaluationError, evaluate
from dsc.ir import Fact, Graph, OnnxOp, element_of, has, onnx
from dsc.passes.base import PassRecord
from dsc.passes.canonicalize.facts import static_shape
from dsc.passes.canonicalize.shape_values import ShapeValues
from dsc.passes.driver import erase_if_dead, replace_op, walk

GROWTH = 8
"""A result may be this many times as large as its operands (a Cast of int8 to double is) ..."""

ALWAYS = 1 << 20
"""... or this many bytes: folding must not turn a small model into a large one."""

_NEVER = frozenset({"Constant", "QuantizeLinear", "DynamicQuantizeLinear"})


Keeps: TypeAlias = Callable[[Graph, OnnxOp], bool]
"""Whether an op on constants is to stay as it is."""


def fold_constants(graph: Graph, values: ShapeValues, record: PassRecord, keeps: Keeps | None = None) -> bool:
    """Replace ops by their constant results where that is possible and not too large; whether any was."""
    before = record.fired.total()
    for op in list(walk(graph.func.body)):
        if op.parent is None or not isinstance(op, OnnxOp) or op.onnx_name in _NEVER:
            continue
        if op.regions or not is_side_effect_free(op) or (keeps is not None and keeps(graph, op)):
            continue
        if not _fold_empty(graph, op, record) and not _fold_shape(graph, op, values, record):
            _fold_op(graph, op, record)
    return record.fired.total() > before


def _fold_empty(graph: Graph, op: OnnxOp, record: PassRecord) -> bool:
    """An op without elements in its results: what it reads does not matter, and no kernel is needed."""
    shapes = [static_shape(result) for result in op.results]
    if not shapes or any(shape is None or 0 not in shape for shape in shapes):
        return False
    types = [element_of(result.type).dtype for result in op.results]
    _replace(graph, op, [np.empty(shape or (), dtype) for shape, dtype in zip(shapes, types, strict=True)])
    record.fire("op without elements => constant")
    return True


def _fold_shape(graph: Graph, op: OnnxOp, values: ShapeValues, record: PassRecord) -> bool:
    if len(op.results) != 1:
        return False
    found = values.of(op.results[0])
    array = found.array(element_of(op.results[0].type).dtype) if found is not None else None
    if array is None:
        return False
    _replace(graph, op, [array])
    record.fire("shape arithmetic on known dims => constant")
    return True


def _fold_op(graph: Graph, op: OnnxOp, record: PassRecord) -> None:
    operands = {v: graph.constant(v) for v in op.operands}
    arrays = {v: a for v, a in operands.items() if a is not None}
    if len(arrays) != len(operands) or any(a.dtype == np.object_ for a in arrays.values()):
        return
    if op.onnx_name == "ConstantOfShape":
        _fold_fill(graph, op, record)
        return
    size = _result_bytes(op)
    if size is None or size > max(ALWAYS, GROWTH * sum(a.nbytes for a in arrays.values())):
        return
    try:
        results = _moved(op, arrays) or _narrowed(op, arrays) or evaluate(op, arrays)
    except EvaluationError:
        return  # ONNX Runtime has no kernel for these types: it stays as it is
    if any(a.shape != static_shape(r) for a, r in zip(results, op.results, strict=True)):
        return  # ONNX's inference rounds up where a pool's window is larger than the image; the lowering does not
    _replace(graph, op, results)
    record.fire("op(constants) => constant")


def _moved(op: OnnxOp, arrays: Mapping[SSAValue, np.ndarray]) -> list[np.ndarray] | None:
    """The result of an op that only moves elements, as a view: a transposed weight takes no memory."""
    if op.onnx_name == "Transpose":
        return [arrays[op.data].transpose(op.attr("perm"))]
    if has(op, Fact.VIEW):
        shape = static_shape(op.results[0])
        assert shape is not None  # its size was just computed
        return [arrays[op.operands[0]].reshape(shape)]
    return None


def _narrowed(op: OnnxOp, arrays: Mapping[SSAValue, np.ndarray]) -> list[np.ndarray] | None:
    """Integers as ones of less than a byte, of which ONNX Runtime hands over none: their low bits."""
    if not isinstance(op, onnx.Cast):
        return None
    target, source = element_of(op.out.type), arrays[op.input]
    if not isinstance(target.encoding, IntegerEncoding) or integer_encoding(source.dtype) is None:
        return None
    low = source.astype(np.uint8) & np.uint8((1 << target.encoding.bits) - 1)
    return [low.view(target.dtype)]


def _result_bytes(op: OnnxOp) -> int | None:
    total = 0
    for result in op.results:
        shape = static_shape(result)
        if shape is None:
            return None
        total += int(np.prod(shape, dtype=np.float64)) * element_of(result.type).dtype.itemsize
    return total


def _fold_fill(graph: Graph, op: OnnxOp, record: PassRecord) -> None:
    """ConstantOfShape as a weight that is one element, seen many times: it takes no memory."""
    shape = static_shape(op.results[0])
    if shape is None:
        return
    fill = op.attr("value")
    value = np.zeros((), np.float32) if fill is None else fill.reshape(())  # the shape may be that of a scalar
    _replace(graph, op, [np.broadcast_to(value, shape)])
    record.fire("constant_of_shape(constant) => constant")


def _replace(graph: Graph, op: OnnxOp, arrays: list[np.ndarray]) -> None:
    block, operands = op.parent, list(op.operands)
    assert block is not None
    made = []
    for result, array in zip(op.results, arrays, strict=True):
        constant = graph.make_constant(array, result.name_hint or "constant")
        block.insert_op_before(constant, op)
        made.append(constant.results[0])
    replace_op(op, made)
    block.erase_op(op)
    for operand in operands:
        if isinstance(operand.owner, Operation):
            erase_if_dead(operand.owner)
