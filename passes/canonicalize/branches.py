"""If with a constant condition."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from dsc.ir import YieldOp
from dsc.passes.pattern import const, ops
from dsc.passes.rule import Match, Rule


class ConstantIf(Rule):
    """if(constant, then, else) => the branch that is taken"""

    pattern = ops.If(const("condition"))

    def rewrite(self, m: Match) -> Sequence[SSAValue]:
        taken = m.root.then_branch if m.array("condition").item() else m.root.else_branch
        block = m.root.parent
        assert block is not None
        for op in list(taken.block.ops):
            op.detach()
            if isinstance(op, YieldOp):
                return list(op.operands)
            block.insert_op_before(op, m.root)
        raise AssertionError("a branch ends with dsc.yield")


RULES: tuple[Rule, ...] = (ConstantIf(),)
