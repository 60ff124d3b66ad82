"""widen: a model of float16 or bfloat16 computed in float32, by the kernels of float32.

For machines that do not compute in half precision. It runs between canonicalization, which knows the numbers of a
pattern in the model's own type, and fusion. The mirror image of `precision`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import Graph, element_of, onnx
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import erase_if_dead, replace_op
from dsc.passes.widen.apply import Widener


@dataclass(frozen=True)
class Widen(Pass):
    """Computes in float32 what the model computes in half precision, and keeps results in it until they are read as
    what the model says they are.

    Inputs and outputs keep their types; constants become float32, exactly. Results are no longer rounded after each
    operator, as ONNX Runtime has it on CPUs. They still are where the model says so (a Cast), and where a rounding
    decides: see `operators`.
    """

    name: ClassVar[str] = "widen"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        widener = Widener(graph)
        ops = list(graph.body.ops)
        for op in ops:
            if widener.visit(op):
                record.fire("op on half precision => op on float32")
        for op in ops:
            if isinstance(op, onnx.Cast) and element_of(op.input.type) == element_of(op.out.type):  # it widened
                replace_op(op, [op.input])
            if op.parent is not None:
                erase_if_dead(op)  # such Casts, and constants of which only the twins are read
        graph.update_signature()
