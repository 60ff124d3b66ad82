"""A function from one byte to one byte, with all its scales known, is a table of 256 bytes.

Quantized models have a GELU or a SiLU as some ten ops with a quantization after each. Whatever they are, the table
holds what ONNX Runtime makes of each byte, so nothing is rounded in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from dsc.exchange import EvaluationError, evaluate_graph
from dsc.ir import Fact, Graph, OnnxOp, dims_of, element_of, element_of_dtype, has, is_constant, onnx, tensor
from dsc.passes.canonicalize.facts import rank
from dsc.passes.fuse.roles import is_elementwise, looks_up_bytes, quantizes_evenly
from dsc.passes.integers.scales import BYTES
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule

_MOST = 64
"""Ops that become one table."""
_FUNCTIONS = frozenset(
    """
    Acos Acosh Asin Asinh Atan Atanh Celu Cos Cosh Elu Erf Exp Gelu Log Mish Pow Selu Sigmoid Sin Sinh Softplus Softsign
    Swish Tan Tanh
    """.split()
)
"""What takes longer to compute than to look up."""


class TableOfBytes(Rule):
    """q(f(x)) => table[x], x of bytes, f elementwise and more than arithmetic"""

    pattern = ops.QuantizeLinear(value("y"), ...)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if not quantizes_evenly(m.root) or element_of(m.root.results[0].type).dtype not in BYTES:
            return "it is not quantized to bytes by one scale"
        found = _function(m.graph, m.root)
        if found is None:
            return "it is not of one tensor of bytes, in steps that are elementwise"
        if not any(op.onnx_name in _FUNCTIONS or looks_up_bytes(op) for op in found.steps):
            return "it is arithmetic alone"
        return None if _table(m.graph, found) is not None else "ONNX Runtime does not compute it"

    def rewrite(self, m: Match) -> SSAValue:
        found = _function(m.graph, m.root)
        table = None if found is None else _table(m.graph, found)
        assert found is not None  # it was checked
        assert table is not None
        index = m.emit(onnx.Cast, found.x, to=element_of_dtype(np.int32).code).out
        made: SSAValue = m.emit(onnx.Gather, m.constant(table, "table"), index, axis=0).out
        return made


@dataclass(frozen=True)
class _Function:
    """What is made of `x` elementwise."""

    x: SSAValue
    steps: Sequence[OnnxOp]
    """In an order in which they can be computed; the last one gives the result."""


def _function(graph: Graph, last: OnnxOp) -> _Function | None:
    """The longest way from a tensor of bytes to the result of `last`."""
    met = _steps(graph, last, None)
    inner = {v for op in met for v in op.operands if not is_constant(v) and element_of(v.type).dtype in BYTES}
    ways = [(x, _steps(graph, last, x)) for x in inner]
    whole = [_Function(x, steps) for x, steps in ways if _depends_on_one(graph, steps, x)]
    alike = [found for found in whole if dims_of(found.x.type) == dims_of(last.results[0].type)]
    return max(alike, key=lambda found: len(found.steps), default=None)


def _steps(graph: Graph, last: OnnxOp, x: SSAValue | None) -> list[OnnxOp]:
    """The elementwise ops that lead to `last`, not beyond `x`; _MOST of them where there are more."""
    found: list[OnnxOp] = []

    def visit(op: OnnxOp) -> None:
        if op in found or len(found) >= _MOST:
            return
        for operand in op.operands:
            source = operand.owner
            if operand is not x and isinstance(source, OnnxOp) and not is_constant(operand) and _is_step(source):
                visit(source)
        found.append(op)

    visit(last)
    return found


def _is_step(op: OnnxOp) -> bool:
    return (is_elementwise(op) or looks_up_bytes(op)) and len(op.results) == 1 and not has(op, Fact.RANDOM)


def _depends_on_one(graph: Graph, steps: Sequence[OnnxOp], x: SSAValue) -> bool:
    """Whether the steps read `x` and single numbers, beside one another and tables."""
    made = {op.results[0] for op in steps}
    for op in steps:
        for position, operand in enumerate(op.operands):
            if operand is x or operand in made or (position == 0 and looks_up_bytes(op)):
                continue
            array = graph.constant(operand)
            if array is None or array.size != 1 or array.ndim > (rank(x) or 0):
                return False
    return len(steps) < _MOST


def _table(graph: Graph, found: _Function) -> np.ndarray | None:
    """The results for all bytes, in the order of the indices that they are: those of negative ones come last."""
    byte = element_of(found.x.type).dtype
    every = np.arange(256, dtype=np.uint8).view(byte)
    small = Graph.build([("x", tensor(byte, every.shape))])
    values: dict[SSAValue, SSAValue] = {found.x: small.inputs[0]}
    for op in found.steps:
        for operand in op.operands:
            array = graph.constant(operand)
            if operand not in values and array is not None:
                constant = small.make_constant(array if array.size != 1 else array.reshape(()))
                small.body.add_op(constant)
                values[operand] = constant.results[0]
        operands = [None if operand is None else values[operand] for operand in op.node_inputs()]
        copy = type(op).make(*operands, **op.attrs())
        small.body.add_op(copy)
        values[op.results[0]] = copy.results[0]
    small.set_outputs([("y", values[found.steps[-1].results[0]])])
    try:
        (table,) = evaluate_graph(small, {"x": every})
    except EvaluationError:
        return None
    return table


RULES: tuple[Rule, ...] = (TableOfBytes(),)
