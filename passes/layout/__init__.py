"""layout: NC/b HW b through the convolutional part of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, PackOp, UnpackOp
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import erase_if_dead
from dsc.passes.layout.apply import Packer
from dsc.passes.layout.decide import BLOCKS, takes_packed, wants_packed


@dataclass(frozen=True)
class Layout(Pass):
    """Packs convolutions, and what comes after them and takes packed tensors as well; unpacks at the borders.

    block: the largest block (16, 8 or 4 channels); a tensor gets the largest one up to it that divides its
    channels.
    """

    name: ClassVar[str] = "layout"

    block: int = 16

    def apply(self, graph: Graph, record: PassRecord) -> None:
        if self.block not in BLOCKS:
            raise UsageError(f"layout: block is one of {', '.join(map(str, BLOCKS))}, not {self.block}")
        packer = Packer(graph, self.block)
        for op in list(graph.ops()):
            if wants_packed(op, self.block) or (packer.has_packed_input(op) and takes_packed(op)):
                kind = op.kind.data if isinstance(op, FusionOp) else op.name.removeprefix("onnx.").lower()
                packer.pack(op)
                record.fire(f"{kind}(x) => pack({kind}(unpack(packed x)))")
        for op in list(graph.ops()):
            if isinstance(op, (PackOp, UnpackOp)):
                erase_if_dead(op)
        graph.update_signature()
