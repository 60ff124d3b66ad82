"""Infer types again where more has become known: constants that were computed, shapes that were pinned or folded."""

from __future__ import annotations

from xdsl.dialects.builtin import UnrankedTensorType
from xdsl.ir import Attribute, SSAValue

from dsc.errors import UsageError
from dsc.ir import Graph, OnnxOp, dims_of, shape_of
from dsc.ir.onnx.infer import merge_types
from dsc.ir.types import tensor_of_dims
from dsc.passes.canonicalize.shape_values import Element, Elements, ShapeValues
from dsc.passes.driver import walk


def retype(graph: Graph, values: ShapeValues) -> bool:
    """Refine the types of results, in order; whether any became more specific."""
    changed = False
    for op in walk(graph.func.body):
        if isinstance(op, OnnxOp) and not op.regions and not all(_is_static(r) for r in op.results):
            changed |= _refine(op, values)
    if changed:
        values.forget()
        graph.func.update_function_type()
    return changed


def _refine(op: OnnxOp, values: ShapeValues) -> bool:
    changed = False
    for result, inferred in zip(op.results, _inferred(op), strict=True):
        changed |= refine_type(result, inferred)
    target = _target(op, values)
    if target is not None:
        changed |= refine_type(op.results[0], target)
    return changed


def _inferred(op: OnnxOp) -> list[Attribute]:
    """What ONNX infers from the operands as they are now; the present types where it fails."""
    kept = [r.type for r in op.results]
    try:
        like = type(op).make(*op.node_inputs(), outputs=len(op.node_outputs()), **op.attrs())
    except UsageError:
        return kept
    types = [r.type for r in like.results]
    like.detach() if like.parent else None
    like.drop_all_references()
    return types if len(types) == len(kept) else kept


def refine_type(value: SSAValue, type_: Attribute) -> bool:
    """Give a value what `type_` tells beyond its type; whether that is anything."""
    merged = merge_types(value.type, type_)
    if isinstance(value.type, UnrankedTensorType):
        merged = type_
    if merged == value.type:
        return False
    value._type = merged
    return True


def _is_static(value: SSAValue) -> bool:
    shape = shape_of(value.type)
    return shape is not None and min(shape, default=0) >= 0


_SHAPE_OPERAND = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}


def _target(op: OnnxOp, values: ShapeValues) -> Attribute | None:
    """The type of a Reshape, Expand or ConstantOfShape whose shape operand is known in terms of dims."""
    if op.onnx_name not in _SHAPE_OPERAND or not hasattr(op.results[0].type, "element_type"):
        return None
    found = values.of(op.operands[_SHAPE_OPERAND[op.onnx_name]])
    if found is None:
        return None
    dims = _expanded(op, found) if op.onnx_name == "Expand" else _reshaped(op, found)
    return None if dims is None else tensor_of_dims(op.results[0].type.element_type, dims)


def _reshaped(op: OnnxOp, found: Elements) -> list[int | str] | None:
    source = dims_of(op.operands[0].type) if op.onnx_name == "Reshape" else ()
    dims: list[int | str] = []
    for i, item in enumerate(found.items):
        if item == 0 and op.onnx_name == "Reshape" and not op.attr("allowzero"):
            dims.append(source[i] if source and i < len(source) else "")
        else:
            dims.append(_dim(item))
    return dims


def _expanded(op: OnnxOp, found: Elements) -> list[int | str] | None:
    source = dims_of(op.operands[0].type)
    if source is None:
        return None
    size = max(len(source), len(found.items))
    given = (1,) * (size - len(source)) + source
    wanted = (1,) * (size - len(found.items)) + found.items
    return [_dim(w) if g == 1 else g if w == 1 or isinstance(g, int) else "" if w is None else _both(g, _dim(w)) for g, w in zip(given, wanted, strict=True)]


def _both(given: int | str, wanted: int | str) -> int | str:
    """The dim of two that broadcast: a name and a number above 1 give the number."""
    if isinstance(wanted, int):
        return wanted
    return given if given == wanted else ""


def _dim(item: Element) -> int | str:
    if isinstance(item, int):
        return item if item >= 0 else ""
    return item if isinstance(item, str) else ""
