"""Storing tensors in half precision: casts within regions, and other types for the ops that are none."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import BlockArgument, Operation, SSAValue

from dsc.ir import FusionOp, OnnxOp, dims_of, element_of, is_constant, onnx, with_elements
from dsc.passes.precision.constants import HalfConstants, is_float32
from dsc.passes.precision.ranges import Range, Ranges, factors, is_product
from dsc.passes.precision.storage import Stored


@dataclass(frozen=True)
class Halver:
    """Applies what was decided."""

    stored: Stored
    ranges: Ranges
    constants: HalfConstants

    def region(self, fusion: FusionOp) -> int:
        """Cast what a region reads and writes in half precision, within it; how many tensors these are."""
        count = 0
        for index, value in enumerate(list(fusion.operands)):
            argument = fusion.block.args[index]
            if value in self.stored.values or self._is_worth_it(value, argument):
                fusion.operands[index] = self.constants.of(value) if is_constant(value) else value
                self._widen(fusion, argument)
                count += 1
        for index, result in enumerate(fusion.results):
            if result in self.stored.values:
                self._narrow(fusion, index)
                count += 1
        return count

    def lone(self, op: Operation) -> int:
        """Make an op that is no region one on half precision, if it is to be; how many results these are."""
        tied = self.stored.ops.get(op, [])
        for index, value in enumerate(op.operands):
            if value in tied and is_constant(value):
                op.operands[index] = self.constants.of(value)
        results = [result for result in op.results if result in self.stored.values]
        for result in results:
            result._type = with_elements(result.type, self.constants.dtype)
        return len(results)

    def _is_worth_it(self, value: SSAValue, argument: BlockArgument) -> bool:
        """Whether a constant is stored in half precision: what is multiplied, and tables; not what a channel adds."""
        if not is_constant(value) or not is_float32(value) or self.ranges.of(value) != Range.KEPT:
            return False
        several = [dim for dim in dims_of(value.type) or () if dim != 1]
        return len(several) > 1 or any(_multiplies(use.operation, argument) for use in argument.uses)

    def _widen(self, fusion: FusionOp, argument: BlockArgument) -> None:
        """What the body reads of an argument is float32 again."""
        wide = argument.type
        argument._type = with_elements(wide, self.constants.dtype)
        cast = onnx.Cast.make(argument, to=element_of(wide).code, result_types=[wide])
        cast.out.name_hint = argument.name_hint
        argument.replace_uses_with_if(cast.out, lambda use: use.operation is not cast)
        first = fusion.block.first_op
        assert first is not None
        fusion.block.insert_op_before(cast, first)

    def _narrow(self, fusion: FusionOp, index: int) -> None:
        """A result is rounded, once, as the last of all."""
        end, half = fusion.yield_op, with_elements(fusion.results[index].type, self.constants.dtype)
        cast = onnx.Cast.make(end.operands[index], to=element_of(half).code, result_types=[half])
        fusion.block.insert_op_before(cast, end)
        end.operands[index] = cast.out
        fusion.results[index]._type = half


def _multiplies(op: Operation, value: SSAValue) -> bool:
    return isinstance(op, OnnxOp) and is_product(op) and value in factors(op)
