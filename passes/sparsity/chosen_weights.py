"""chosen-weights: products by matrices that each row chooses do not wait for a copy of these.

A mixture of experts multiplies each token by the weights of the experts that its gate has chosen, which exporters write
as Gather and MatMul. With the Gather in its region, a kernel reads the weights where they are. It comes after `fuse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Block, Operation, Region, SSAValue

from dsc.ir import FusionOp, Graph, OnnxOp, WeightOp, onnx, shape_of
from dsc.passes.base import Pass, PassRecord
from dsc.passes.canonicalize.facts import static_shape
from dsc.passes.sparsity.regions import outside

_RULE = "x @ gather(w, i) in one region"


@dataclass(frozen=True)
class ChosenWeights(Pass):
    """Moves the Gather of a stack of matrices into the region of the product that alone reads what it takes."""

    name: ClassVar[str] = "chosen-weights"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        for op in list(graph.ops()):
            product = _product(op)
            if product is None:
                continue
            gather = outside(op, product.B).owner
            if not isinstance(gather, onnx.Gather) or not _is_stack(gather.data):
                continue
            reason = _refusal(gather, product)
            if reason is None:
                assert isinstance(op, FusionOp)
                _take_in(graph, op, gather)
                record.fire(_RULE)
            else:
                record.miss(_RULE, product, reason)


def _product(op: Operation) -> OnnxOp | None:
    """The product of a region of that kind."""
    if not isinstance(op, FusionOp) or op.kind.data != "matmul":
        return None
    return next((inner for inner in op.block.ops if isinstance(inner, onnx.MatMul)), None)


def _is_stack(value: SSAValue) -> bool:
    return isinstance(value.owner, WeightOp) and len(shape_of(value.type) or ()) == 3


def _refusal(gather: OnnxOp, product: OnnxOp) -> str | None:
    if gather.attr("axis", 0) != 0:
        return "parts of matrices are chosen"
    if len(list(gather.output.uses)) > 1:
        return "the matrices are used elsewhere, too"
    rows, choices = static_shape(product.A), static_shape(gather.indices)
    if rows is None or choices is None:
        return "sizes that are not known"
    if rows[-2:-1] != (1,) or len(rows) != len(choices) + 2:
        return "a matrix is chosen for several rows at once"
    return None


def _take_in(graph: Graph, fusion: FusionOp, gather: OnnxOp) -> None:
    """The region again, with the Gather at its beginning."""
    before = [value for value in fusion.inputs if value is not gather.output]
    inputs = list(dict.fromkeys([*before, gather.data, gather.indices]))
    block = Block(arg_types=[value.type for value in inputs])
    mapping: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=True))
    for value, argument in zip(inputs, block.args, strict=True):
        argument.name_hint = value.name_hint
    block.add_op(gather.clone(value_mapper=mapping))
    for value, argument in zip(fusion.inputs, fusion.block.args, strict=True):
        mapping[argument] = mapping[value]
    for op in fusion.block.ops:
        block.add_op(op.clone(value_mapper=mapping))
    rule = f"{fusion.rule.data}, r = gather" if fusion.rule else None
    made = FusionOp(fusion.kind.data, inputs, [result.type for result in fusion.results], Region(block), rule)
    made.attributes.update(fusion.attributes)
    graph.body.insert_op_before(made, fusion)
    for old, new in zip(fusion.results, made.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    graph.body.erase_op(fusion)
    graph.body.erase_op(gather)
