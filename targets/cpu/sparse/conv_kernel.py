"""The kernel for convolutions whose weight is mostly zeros."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.ir import SparseAttr
from dsc.lower.workload import Workload
from dsc.targets.cpu.conv.elements import FLOAT32
from dsc.targets.cpu.conv.problem import region_of
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse.conv_space import SparseConvSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class SparseConv:
    """2-D convolution in float32 by a weight whose type says where its zeros are: each entry is one offset."""

    name: str = "cpu.conv2d.sparse"

    def match(self, workload: Workload, machine: Cpu) -> SparseConvSpace | Refusal:
        """The tilings of the convolution in `workload`."""
        if not any(isinstance(operand.encoding, SparseAttr) for operand in workload.operands):
            return Refusal("no weight with a pattern of zeros")
        region = region_of(workload)
        if isinstance(region, Refusal):
            return region
        conv, position = region.conv, region.position(region.weight)
        encoding = workload.operands[position].encoding
        if not isinstance(encoding, SparseAttr) or encoding.axis.data != 0:
            return Refusal("what is sparse is no weight of the convolution")
        if region.element != FLOAT32 or workload.operands[position].element.dtype.name != FLOAT32:
            return Refusal(f"elements of {region.element}")
        if conv.groups > 1:
            return Refusal("channels in groups")
        if not all(isinstance(size, int) for size in (conv.n, conv.h, conv.w)):
            return Refusal("an image whose size is not known")
        return SparseConvSpace(region, encoding, machine, region.frame().epilogue.block)
