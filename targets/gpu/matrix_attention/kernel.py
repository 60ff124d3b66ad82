"""The kernel for attention by instructions on matrices."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.attention.problem import problem_of
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.exact import SINGLE, common_type
from dsc.targets.gpu.matrix.instructions import fragments_of
from dsc.targets.gpu.matrix_attention.chain import Chain, chain_of
from dsc.targets.gpu.matrix_attention.sides import Sides
from dsc.targets.gpu.matrix_attention.space import AttentionSpace
from dsc.targets.kernel import Refusal
from dsc.targets.machine import MultiplyAdd


@dataclass(frozen=True)
class AttendMatrices:
    """Attention whose factors, the probabilities too, may be multiplied as float16, bfloat16 or tf32, or are multiplied
    as float32 where the machine has instructions on matrices of that: any scale and mask, any layout of the heads, any
    number of queries and keys. Sums and the softmax are float32."""

    name: str = "gpu.matrix_attention"

    def match(self, workload: Workload, machine: Gpu) -> AttentionSpace | Refusal:
        """The blockings of the attention in `workload`."""
        found = problem_of(workload)
        if isinstance(found, Refusal):
            return found
        if found.weights is not found.probabilities:
            return Refusal("the weights are changed after the softmax")
        exact = Sides.of(found, SINGLE).exact
        element = common_type(exact, workload.multiplied_as)
        if isinstance(element, Refusal):
            return element
        sides = Sides.of(found, element)
        instructions = _instructions(machine, element, sides.queries.chunk)
        if not instructions:
            return Refusal(f"no instruction on matrices of {element}")
        space = AttentionSpace(found, machine, sides, instructions)
        return space if space.points() else Refusal("heads too wide for the registers and the memory of a block")


def _instructions(machine: Gpu, element: str, chunk: int) -> dict[str, tuple[MultiplyAdd, Chain]]:
    """Those whose sums become operands, by intrinsic."""
    found: dict[str, tuple[MultiplyAdd, Chain]] = {}
    for row in machine.multiply_adds(element, element, SINGLE):
        fragments = fragments_of(row)
        chain = None if fragments is None else chain_of(fragments, machine.warp, chunk)
        if chain is not None:
            found[str(row.intrinsic)] = row, chain
    return found
