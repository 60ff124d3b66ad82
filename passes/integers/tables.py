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
    is_step = _Steps()
    operands = dict.fromkeys(v for op in _met(last, is_step) for v in op.operands if not is_constant(v))
    alike = [
        v for v in operands if element_of(v.type).dtype in BYTES and dims_of(v.type) == dims_of(last.results[0].type)
    ]
    ways = [_Function(x, steps) for x in alike if (steps := _way(graph, last, x, is_step))]
    return max(ways, key=lambda found: len(found.steps), default=None)


class _Steps(dict[SSAValue, bool]):
    """Whether a value is made elementwise, asked once for each."""

    def __missing__(self, made: SSAValue) -> bool:
        op = made.owner
        self[made] = (
            isinstance(op, OnnxOp)
            and not is_constant(made)
            and (is_elementwise(op) or looks_up_bytes(op))
            and len(op.results) == 1
            and not has(op, Fact.RANDOM)
        )
        return self[made]


def _met(last: OnnxOp, is_step: _Steps) -> list[OnnxOp]:
    """The elementwise ops that lead to `last`; _MOST of them where there are more."""
    found: dict[OnnxOp, None] = {}

    def visit(op: OnnxOp) -> None:
        if op in found or len(found) >= _MOST:
            return
        for operand in op.operands:
            if is_step[operand]:
                assert isinstance(operand.owner, OnnxOp)
                visit(operand.owner)
        found[op] = None

    visit(last)
    return list(found)


def _way(graph: Graph, last: OnnxOp, x: SSAValue, is_step: _Steps) -> list[OnnxOp]:
    """The ops that make the result of `last` of `x` and single numbers, beside one another and tables; none if it takes
    anything else, or too many.
    """
    found: dict[OnnxOp, None] = {}
    entered: set[OnnxOp] = set()

    def visit(op: OnnxOp) -> bool:
        if op in found:
            return True
        entered.add(op)
        for position, operand in enumerate(op.operands):
            if operand is x or (position == 0 and looks_up_bytes(op)):
                continue
            source = operand.owner
            if not (
                visit(source) if is_step[operand] and isinstance(source, OnnxOp) else _is_number(graph, operand, x)
            ):
                return False
        found[op] = None
        return len(entered) < _MOST

    return list(found) if visit(last) else []


def _is_number(graph: Graph, operand: SSAValue, x: SSAValue) -> bool:
    """Whether it is one constant number, which does not make more dims of those of `x`."""
    array = graph.constant(operand)
    return array is not None and array.size == 1 and array.ndim <= (rank(x) or 0)


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
