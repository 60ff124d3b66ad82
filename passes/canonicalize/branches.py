"""If with a constant condition."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Region, SSAValue

from dsc.passes.pattern import const, ops
from dsc.passes.rule import Match, Rule


class ConstantIf(Rule):
    """if(constant, then, else) => the branch that is taken"""

    pattern = ops.If(const("condition"))

    def rewrite(self, m: Match) -> Sequence[SSAValue]:
        taken, other = m.root.then_branch, m.root.else_branch
        if not m.array("condition").item():
            taken, other = other, taken
        _drop(other)
        block, yielded = m.root.parent, taken.block.last_op
        assert block is not None
        for op in list(taken.block.ops):
            op.detach()
            if op is not yielded:
                block.insert_op_before(op, m.root)
        results = list(yielded.operands)
        yielded.drop_all_references()
        return results


def _drop(region: Region) -> None:
    """Detach all ops of a region, nested ones too, so that whoever has them on a list sees that they are
    gone.
    """
    for op in reversed(list(region.walk())):
        op.detach()  # type: ignore[no-untyped-call]
        op.drop_all_references()


RULES: tuple[Rule, ...] = (ConstantIf(),)
