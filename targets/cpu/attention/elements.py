"""Elements of an attention's tensors, from the function's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.targets.cpu.attention.problem import Chosen, Problem
from dsc.targets.cpu.gemm.product import batch_at
from dsc.targets.cpu.inline import Inliner, Leaf


@dataclass(frozen=True, eq=False)
class Elements:
    """Of the inputs as they are in memory, and of what is elementwise in them."""

    problem: Problem
    buffers: Mapping[te.Tensor, tirx.Buffer]

    def leaves(self) -> dict[te.Tensor, Leaf]:
        """How each input is read."""

        def load(buffer: tirx.Buffer) -> Leaf:
            return lambda indices: buffer[tuple(indices)]

        loads = {tensor: load(buffer) for tensor, buffer in self.buffers.items()}
        return {**loads, **self.problem.kept_leaves()}

    def chooses(self, chosen: Chosen, batch: Sequence[Expr], query: Expr, key: Expr) -> Expr:
        """Whether a block of queries attends to one of keys, both by number."""
        return tirx.NE(self.of(chosen.blocks, batch, [query, key]), tirx.const(0, str(chosen.blocks.dtype)))

    def of(self, tensor: te.Tensor, batch: Sequence[Expr], at: Sequence[Expr]) -> Expr:
        """An element of q, k or v, or of what is chosen: `batch` is where it is in that of the scores."""
        leading = batch_at(tensor.shape[:-2], self.problem.batch, batch)
        return Inliner(self.leaves()).at(tensor, [*leading, *at])
