"""The types of half precision, and which tensors of a node may be of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import onnx
import onnx.defs

from dsc.elements import BY_DTYPE_NAME, ElementType
from dsc.ir.onnx.facts import Fact, facts_of

HALVES: dict[str, ElementType] = {"bf16": BY_DTYPE_NAME["bfloat16"], "fp16": BY_DTYPE_NAME["float16"]}
"""By the names that users give, the same as those of `--precision`."""

_BFLOAT16_OPSET = 22
"""The first whose convolutions and pools take bfloat16."""
_ROUNDING = frozenset("Cast CastLike QuantizeLinear DequantizeLinear".split())
"""What converts says itself from what and to what."""


def opset_of_halves(element: ElementType, least: int) -> int:
    """The opset at which operators take the type. least: that of everything else."""
    return max(least, _BFLOAT16_OPSET) if element == HALVES["bf16"] else least


def largest(element: ElementType) -> float:
    """The largest number of the type."""
    return float(ml_dtypes.finfo(element.dtype).max)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class HalfForm:
    """The operands and results of a node, by position, that are of half precision where the node is."""

    operands: tuple[int, ...]
    results: tuple[int, ...]


def half_form(node: onnx.NodeProto, codes: Mapping[str, int], opset: int, element: ElementType) -> HalfForm | None:
    """What of a node becomes `element`: the float32 tensors that have the type of its first result.

    None where ONNX does not allow that, or where the node makes no float32 of float32. codes: of `element_codes`.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type in _ROUNDING or Fact.RANDOM in facts_of(node.op_type):
        return None
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    operands = _float_variables(node.input, schema.inputs, codes)
    results = _float_variables(node.output, schema.outputs, codes)
    variable = next(iter(results.values()), "")
    allowed: Sequence[str] = next(
        (c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == variable), []
    )
    tied = tuple(index for index, found in operands.items() if found == variable)
    if not tied or f"tensor({element.name.lower()})" not in allowed or set(results.values()) != {variable}:
        return None
    return HalfForm(tied, tuple(results))


def _float_variables(
    names: list[str], parameters: list[onnx.defs.OpSchema.FormalParameter], codes: Mapping[str, int]
) -> dict[int, str]:
    """The type variables of the tensors that are float32, by position; the last parameter may stand for several."""
    return {
        index: parameters[min(index, len(parameters) - 1)].type_str
        for index, name in enumerate(names)
        if name and codes.get(name) == onnx.TensorProto.FLOAT
    }
