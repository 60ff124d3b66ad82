"""Infer types again where more has become known: constants that were computed, shapes that were pinned or
folded.
"""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute, SSAValue

from dsc.errors import UsageError
from dsc.ir import Graph, OnnxOp, dims_of, element_of, shape_of
from dsc.ir.onnx.infer import merge_types
from dsc.ir.types import encoding_of, tensor_of_dims
from dsc.passes.canonicalize.known_dims import known_dims
from dsc.passes.canonicalize.shape_values import ShapeValues
from dsc.passes.driver import walk


def retype(graph: Graph, values: ShapeValues) -> bool:
    """Refine the types of results, in order; whether any became more specific."""
    changed = False
    for op in walk(graph.func.body):
        if not isinstance(op, OnnxOp):
            continue
        if not op.regions and not all(_is_static(r) for r in op.results):
            changed |= _refine(op, values)
        for result in op.results:
            values.of(result)  # in order: see ShapeValues.of
    if changed:
        values.forget()
    return changed


def _refine(op: OnnxOp, values: ShapeValues) -> bool:
    changed = False
    for result, inferred in zip(op.results, _inferred(op), strict=True):
        changed |= refine_type(result, inferred)
    dims = known_dims(op, values)
    if dims is not None:
        changed |= refine_type(op.results[0], tensor_of_dims(element_of(op.results[0].type).mlir, dims))
    return changed


def _inferred(op: OnnxOp) -> list[Attribute]:
    """What ONNX infers from the operands as they are now; the present types where it fails."""
    kept = [r.type for r in op.results]
    try:
        like = type(op).make(*op.node_inputs(), outputs=len(op.node_outputs()), **op.attrs())
    except UsageError:
        return kept
    types = [r.type for r in like.results]
    like.drop_all_references()
    return types if len(types) == len(kept) else kept


def refine_type(value: SSAValue, type_: Attribute) -> bool:
    """Give a value what `type_` tells beyond its type; whether that is anything."""
    merged = type_ if isinstance(value.type, UnrankedTensorType) else merge_types(value.type, type_)
    if isinstance(value.type, TensorType) and isinstance(type_, TensorType):
        merged = _with_better_names(value.type, type_, merged)
    if merged == value.type:
        return False
    value._type = merged
    return True


def _with_better_names(old: Attribute, new: Attribute, merged: Attribute) -> Attribute:
    """Names that ONNX's inference made up give way to those of the model."""
    before, after, dims = dims_of(old), dims_of(new), dims_of(merged)
    if before is None or after is None or dims is None or len(before) != len(after):
        return merged
    if encoding_of(merged) is not None:
        return merged  # it is static
    chosen = [
        n if _is_made_up(o) and n != "" and not _is_made_up(n) else d
        for o, n, d in zip(before, after, dims, strict=True)
    ]
    return tensor_of_dims(element_of(merged).mlir, chosen)


def _is_made_up(dim: int | str) -> bool:
    return isinstance(dim, str) and dim.startswith("unk__")


def _is_static(value: SSAValue) -> bool:
    shape = shape_of(value.type)
    return shape is not None and min(shape, default=0) >= 0
