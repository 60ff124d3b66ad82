"""The kernel for convolutions whose weight is mostly zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import SparseAttr
from dsc.lower.workload import Workload
from dsc.targets.cpu.conv.elements import BFLOAT16, FLOAT32
from dsc.targets.cpu.conv.problem import Region, region_of
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse.conv_space import SparseConvSpace
from dsc.targets.cpu.sparse.plane import Plane
from dsc.targets.kernel import Refusal
from dsc.targets.machine import MultiplyAdd

PHASES = 16
"""Planes of a channel at most: each is code of its own, and patches of 16 x 16 would take minutes to compile."""


@dataclass(frozen=True)
class SparseConv:
    """2-D convolution by a weight whose type says where its zeros are: each entry is one offset.

    In float32; of bytes, where an instruction multiplies four at once.
    """

    name: str = "cpu.conv2d.sparse"
    skips_zeros: ClassVar[bool] = True

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
        if not region.integer and workload.operands[position].element.dtype.name != FLOAT32:
            return Refusal("the weight is kept in half precision")
        instruction = _instruction(region, machine)
        if instruction is None:
            return Refusal(f"no instruction multiplies {region.element} as it is, or four bytes at once")
        if conv.groups > 1:
            return Refusal("channels in groups")
        if not all(isinstance(size, int) for size in (conv.h, conv.w)):
            return Refusal("an image whose size is not known")
        phases = len(Plane(conv, 1, 0).phases)
        if phases > PHASES:
            return Refusal(f"strides and taps that make {phases} planes of a channel, and {PHASES} are the most")
        return SparseConvSpace(region, encoding, machine, instruction, region.frame().epilogue.block)


def _instruction(region: Region, machine: Cpu) -> MultiplyAdd | None:
    """The widest one that multiplies the input's elements as floats, or four of its bytes at once."""
    if region.element == BFLOAT16:
        return None
    forms = (machine.multiply_adds(*types) for types in region.factors)
    return next((rows[0] for rows in forms if rows and rows[0].k == (4 if region.integer else 1)), None)
