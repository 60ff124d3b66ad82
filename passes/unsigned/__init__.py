"""unsigned: bytes become unsigned ones where the machine multiplies no others.

A tensor of int8 with the zero point z is one of uint8 with 128 more in each byte, and the zero point z + 128. What
quantizes, dequantizes and multiplies takes the other zero point; what moves or compares bytes does not care. Where no
byte is negative, as after a Relu with a zero point of 0, it is one of uint8 as it is. No result changes by a bit (ONNX
leaves open what a NaN is quantized to), and kernels need not turn each byte as they read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Operation

from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.unsigned.apply import Change
from dsc.passes.unsigned.decide import connected, refuse, shift_of
from dsc.passes.unsigned.signs import not_negative

_NAME = "int8 with zero point z => uint8 with zero point z + 128, or z where no byte is negative"


@dataclass(frozen=True)
class Unsigned(Pass):
    """Makes unsigned bytes of signed ones that products read, all that are connected or none.

    It comes after `requantize`, when all that becomes bytes is known, and before regions are formed. Inputs and outputs
    of the model keep their types, and so does what no product reads: other kernels take either sign.
    """

    name: ClassVar[str] = "unsigned"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        found = list(connected(graph))
        positive = not_negative(graph) if found else set()
        for tensors in found:
            if refused := refuse(graph, tensors):
                first = next(iter(tensors)).owner
                assert isinstance(first, Operation)
                record.miss(_NAME, first, refused)
            else:
                Change(graph, shift_of(graph, tensors, positive)).apply(tensors)
                record.fire(_NAME, len(tensors))
