"""quantize-rows: products by weights of few bits may round their activations to integers, row by row.

Regions are formed by then, and stay what they are. What becomes of the permission is a kernel's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Operation

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, onnx, set_multiplied_as
from dsc.passes.base import Pass, PassRecord
from dsc.precision import ACTIVATIONS


@dataclass(frozen=True)
class QuantizeRows(Pass):
    """Lets products by weights of few bits multiply each row of activations in whole steps: after `fuse`.

    type: int8 or int16, the integers that they become. A step is the largest magnitude of some neighbours in a row over
        the largest integer; how many share one is the kernel's to choose.
    """

    name: ClassVar[str] = "quantize-rows"

    type: str = "int8"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        if self.type not in ACTIVATIONS[1:]:
            raise UsageError(f"quantize-rows: type is one of {', '.join(ACTIVATIONS[1:])}, not {self.type}")
        for op in graph.ops():
            if any(map(_by_few_bits, op.block.ops if isinstance(op, FusionOp) else (op,))):
                set_multiplied_as(op, self.type)
                record.fire(f"a @ dq(w, s) => {self.type}(a) @ dq(w, s)")


def _by_few_bits(op: Operation) -> bool:
    """Whether an op is a product by what is dequantized in groups: a form that the pass `weight-only` gives to weights
    alone."""
    weight = op.B.owner if isinstance(op, onnx.MatMul) else None
    return isinstance(weight, onnx.DequantizeLinear) and bool(weight.attr("block_size", 0))
