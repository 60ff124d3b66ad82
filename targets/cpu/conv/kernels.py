"""The convolution kernels, as the registry of CPU kernels lists them."""

from __future__ import annotations

from math import prod

from dsc.lower.workload import Workload
from dsc.targets.cpu.conv.depthwise import DepthwiseSpace
from dsc.targets.cpu.conv.direct_space import DirectSpace
from dsc.targets.cpu.conv.problem import region_of
from dsc.targets.cpu.conv.single import SingleSpace
from dsc.targets.cpu.conv.single import refusal as refused_as_single
from dsc.targets.cpu.conv.winograd_space import WinogradSpace, refusal
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Refusal


class Direct:
    """`dsc.targets.Kernel`: direct convolution, dense or grouped, with constant weights."""

    name = "cpu.conv2d.direct"

    def match(self, workload: Workload, machine: Cpu) -> DirectSpace | Refusal:
        """The design space for `workload`, or why there is none."""
        region = region_of(workload)
        if isinstance(region, Refusal):
            return region
        if region.conv.depthwise and region.conv.c > 1:
            return Refusal("depthwise")
        rows = region.instructions(machine)
        if not rows:
            return Refusal(f"no instruction multiplies {region.element} where so few channels lie side by side")
        return DirectSpace(region, machine, region.frame().epilogue.block)


class Depthwise:
    """`dsc.targets.Kernel`: depthwise convolution of packed tensors, with constant weights."""

    name = "cpu.conv2d.depthwise"

    def match(self, workload: Workload, machine: Cpu) -> DepthwiseSpace | Refusal:
        """The design space for `workload`, or why there is none."""
        region = region_of(workload)
        if isinstance(region, Refusal):
            return region
        if not region.conv.depthwise:
            return Refusal("channels are mixed")
        if region.conv.block < 4:
            return Refusal("the input is not packed")
        if region.integer and prod(region.conv.kernel) * 255 * (128 if region.weight_zero is None else 255) >= 2**24:
            return Refusal("sums that are not exact in float32")
        return DepthwiseSpace(region, machine)


class Single:
    """`dsc.targets.Kernel`: pointwise convolution of packed bytes to one channel, with constant weights."""

    name = "cpu.conv2d.single"

    def match(self, workload: Workload, machine: Cpu) -> SingleSpace | Refusal:
        """The design space for `workload`, or why there is none."""
        region = region_of(workload)
        if isinstance(region, Refusal):
            return region
        reason = refused_as_single(region, machine)
        return Refusal(reason) if reason else SingleSpace(region, machine)


class Winograd:
    """`dsc.targets.Kernel`: Winograd's F(4x4, 3x3) and F(2x2, 3x3) for packed tensors, with constant weights."""

    name = "cpu.conv2d.winograd"

    def match(self, workload: Workload, machine: Cpu) -> WinogradSpace | Refusal:
        """The design space for `workload`, or why there is none."""
        region = region_of(workload)
        if isinstance(region, Refusal):
            return region
        if region.integer:
            return Refusal("bytes")
        out_block = region.frame().epilogue.block
        reason = refusal(region.conv, out_block)
        return Refusal(reason) if reason else WinogradSpace(region, machine, out_block)
