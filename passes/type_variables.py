"""The type variables of ONNX operators: which operands and results have one element type, and which types it may be."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import SSAValue

from dsc.ir import OnnxOp


def typed(op: OnnxOp) -> Iterator[tuple[SSAValue, str]]:
    """The operands and results of an op, with the names of their type variables."""
    schema = op.onnx_schema
    for values, parameters in ((op.node_inputs(), schema.inputs), (op.node_outputs(), schema.outputs)):
        for index, value in enumerate(values):
            if value is not None:
                yield value, parameters[min(index, len(parameters) - 1)].type_str


def allowed(op: OnnxOp, variable: str) -> list[str]:
    """The types that a variable of a schema stands for; none for what is a type itself."""
    constraints = op.onnx_schema.type_constraints
    return next((list(c.allowed_type_strs) for c in constraints if c.type_param_str == variable), [])
