"""Common subexpressions: equal ops on equal operands, and weights of equal content, become one."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Hashable, MutableMapping

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Block, Operation
from xdsl.traits import is_side_effect_free

from dsc.ir import FusionOp, Graph, WeightOp
from dsc.passes.base import PassRecord
from dsc.passes.driver import replace_op, walk

_Seen = MutableMapping[Hashable, Operation]


def eliminate_common(graph: Graph, record: PassRecord) -> bool:
    """Replace ops by earlier ones that compute the same; whether any was."""
    before = record.fired.total()
    weights = [op for op in walk(graph.func.body) if isinstance(op, WeightOp)]
    # Contents are read only where there is another weight of the same type to be equal to.
    alike = Counter[Attribute](op.out.type for op in weights)
    _visit(graph, graph.body, ChainMap(), alike, record)
    return record.fired.total() > before


def _visit(graph: Graph, block: Block, seen: _Seen, alike: Counter[Attribute], record: PassRecord) -> None:
    for op in list(block.ops):
        if isinstance(op, ReturnOp | FusionOp):
            continue
        for region in op.regions:
            for inner in region.blocks:
                _visit(graph, inner, ChainMap({}, seen), alike, record)
        if op.regions or not op.results or not is_side_effect_free(op):
            continue
        key = _key(graph, op, alike)
        first = seen.setdefault(key, op)
        if first is not op:
            replace_op(op, first.results)
            block.erase_op(op)
            record.fire("f(x), f(x) => f(x)")


def _key(graph: Graph, op: Operation, alike: Counter[Attribute]) -> Hashable:
    if isinstance(op, WeightOp):
        if alike[op.out.type] > 1:
            return "dsc.weight", op.out.type, graph.weights.hash(op.weight)
        return "dsc.weight", op.out.type, op.weight
    properties = frozenset(op.properties.items())
    return op.name, tuple(op.operands), properties, tuple(r.type for r in op.results)
