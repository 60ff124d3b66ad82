"""Operators that ONNX defines by other operators, replaced by those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.exchange import definition, has_definition
from dsc.ir import Graph, OnnxOp, WeightOp, onnx
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import replace_op, walk


@dataclass(frozen=True)
class ExpandFunctions(Pass):
    """Replaces the operators named in `ops` by their definitions: `expand-functions{ops=Celu,Shrink}`.

    For operators that a target has no lowering for. An op whose attributes have no definition stays, as a near miss.
    Raises UsageError for a name that never has a definition.
    """

    name = "expand-functions"
    ops: tuple[str, ...] = ()

    def apply(self, graph: Graph, record: PassRecord) -> None:
        for name in self.ops:
            if name not in onnx.OPS or not has_definition(onnx.OPS[name]):
                raise UsageError(f"ONNX has no definition of {name!r} by other operators")
        refused: set[OnnxOp] = set()
        while found := [op for op in self._matches(graph) if op not in refused]:  # definitions may use one another
            for op in found:
                rule = f"{op.onnx_name} => its definition"
                constants = {v: v.owner for v in op.operands if isinstance(v.owner, onnx.Constant)}
                try:
                    inner = definition(op, constants)
                except UsageError as error:
                    refused.add(op)
                    record.miss(rule, op, str(error))
                else:
                    _expand(graph, op, inner, constants)
                    record.fire(rule)

    def _matches(self, graph: Graph) -> list[OnnxOp]:
        return [op for op in walk(graph.func.body) if isinstance(op, OnnxOp) and op.onnx_name in self.ops]


def _expand(graph: Graph, op: OnnxOp, inner: Graph, constants: Mapping[SSAValue, OnnxOp]) -> None:
    block = op.parent
    assert block is not None
    arguments = [v for v in dict.fromkeys(op.operands) if v not in constants]
    mapped: dict[SSAValue, SSAValue] = dict(zip(inner.inputs, arguments, strict=True))
    for made in inner.body.ops:
        if isinstance(made, ReturnOp):
            replace_op(op, [mapped[v] for v in made.operands])
            continue
        copy = made.clone(value_mapper=mapped)
        if isinstance(made, WeightOp):
            copy = graph.make_constant(inner.weights.get(made.weight), made.weight)
            mapped[made.out] = copy.results[0]
        elif op.node:
            copy.attributes["node"] = op.attributes["node"]
        block.insert_op_before(copy, op)
    block.erase_op(op)
