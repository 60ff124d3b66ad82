"""The verifier: what xDSL checks, and what it does not: dominance, weights, closed and lean fusion bodies."""

from __future__ import annotations

import io

from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dsc.errors import DscError, VerificationError
from dsc.ir.dialect import FusionOp, WeightOp
from dsc.ir.types import element_of_dtype, verify_encoding
from dsc.ir.weights import WeightStore


def verify(module: ModuleOp, weights: WeightStore) -> None:
    """Raise VerificationError, pointing at the op, when the module of a graph is not well formed.

    weights: the store that its `dsc.weight` ops name.
    """
    func = module.body.block.first_op
    if not isinstance(func, FuncOp) or module.body.block.last_op is not func:
        raise VerificationError("a module holds one func.func @main and nothing else")
    _verify_op(func, set(), weights)
    try:
        func.verify_()
    except VerifyException as error:
        raise VerificationError(f"{error}\n  in the signature of @main") from error


def _verify_op(op: Operation, visible: set[SSAValue], weights: WeightStore) -> None:
    for i, operand in enumerate(op.operands):
        if operand not in visible:
            raise located(op, f"operand {i} is used before it is defined, or is not visible here")
    for region in op.regions:
        inner = set() if isinstance(op, FusionOp) or op.name == "func.func" else set(visible)
        for block in region.blocks:
            _verify_block(block, inner, weights)
    try:
        for value in (*op.results, *(argument for region in op.regions for b in region.blocks for argument in b.args)):
            verify_encoding(value.type)
        op.verify(verify_nested_ops=False)
        if isinstance(op, WeightOp):
            _verify_weight(op, weights)
        elif isinstance(op, FusionOp):
            _verify_lean(op)
    except (VerifyException, ValueError, DscError) as error:
        raise located(op, str(error)) from error
    visible.update(op.results)


def _verify_block(block: Block, visible: set[SSAValue], weights: WeightStore) -> None:
    visible.update(block.args)
    for op in block.ops:
        _verify_op(op, visible, weights)


def _verify_weight(op: WeightOp, weights: WeightStore) -> None:
    if op.weight not in weights:
        raise VerifyException(f"the weight store has no weight {op.weight!r}")
    type_ = op.out.type
    assert isinstance(type_, TensorType)
    dtype, shape = weights.dtype(op.weight), weights.shape(op.weight)
    if type_.get_shape() != shape or type_.element_type != element_of_dtype(dtype).mlir:
        raise VerifyException(f"weight {op.weight!r} is {dtype}{list(shape)} in the weight store, {type_} here")


def _verify_lean(op: FusionOp) -> None:
    """No input of a fusion may be unused, nor passed twice: equal work must be equal text."""
    if dead := [a.index for a in op.block.args if not a.uses]:
        raise VerifyException(f"input {dead[0]} is not used in the body")
    if len(set(op.inputs)) != len(op.inputs):
        raise VerifyException("a value is an input twice")


def op_text(op: Operation, limit: int = 240) -> str:
    """The first line of an op's text, cut to `limit` characters."""
    out = io.StringIO()
    printer = Printer(stream=out, print_generic_format=True)
    for operand in op.operands:
        if operand.name_hint is None and isinstance(operand.owner, Operation):
            printer.print_ssa_value(operand)
    start = out.tell()
    printer.print_op(op.clone_without_regions() if op.regions else op)
    line = out.getvalue()[start:].splitlines()[0]
    return line if len(line) <= limit else line[: limit - 3] + "..."


def describe(op: Operation) -> str:
    """`op_text` and the name of the ONNX node, for messages."""
    node = op.attributes.get("node")
    return op_text(op) + (f"\n  from ONNX node {node.data!r}" if isinstance(node, StringAttr) else "")


def located(op: Operation, message: str) -> VerificationError:
    """A VerificationError that points at an op."""
    return VerificationError(f"{message}\n  at {describe(op)}")
