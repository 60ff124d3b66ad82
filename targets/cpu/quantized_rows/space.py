"""The tilings of a product of rows of bytes, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dsc.lower.nominal import nominal
from dsc.targets.cpu.gemm.space import GemmSpace
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.quantized_rows.code import write
from dsc.targets.cpu.quantized_rows.packing import Bytes, ZeroPoints
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.cpu.weight_only.packing import OfGroups
from dsc.targets.kernel import ArrayType, Implementation, Packing

UNPACK_CYCLES = 6.0
"""Making two vectors of bytes of one that holds integers of 4 bits."""


@dataclass(frozen=True, eq=False)
class QuantizedRowsSpace:
    """The tilings of the product of bytes, each tile with all bytes of its rows."""

    problem: ByteProduct
    machine: Cpu

    def points(self) -> Sequence[Tiling]:
        """All that are worth considering; their rows are those of activations."""
        count = self.problem.bytes
        tilings = (tiling for tiling in self._in_bytes.points() if tiling.stacked == 1 and tiling.rows % count == 0)
        return [replace(tiling, rows=tiling.rows // count) for tiling in tilings if self._fits(tiling)]

    def _fits(self, tiling: Tiling) -> bool:
        """Whether sums of several groups have registers beside those of one."""
        if self.problem.groups == 1:
            return True
        scaled = tiling.rows // self.problem.bytes * tiling.vectors
        of_a = tiling.rows if tiling.depth > 1 else 0  # where lanes are operands
        return scaled + tiling.rows * tiling.vectors + tiling.vectors + of_a + 2 <= self.machine.vector_registers

    @cached_property
    def _in_bytes(self) -> GemmSpace:
        """The product of bytes, whose rows each task copies."""
        return GemmSpace(self.problem.in_bytes, self.machine)

    def estimate(self, point: Tiling) -> float:
        """Seconds: those of the product of bytes, and of making floats of its sums."""
        weight, count = self.problem.weight, self.problem.bytes
        # of each sum of bytes a conversion and a multiplication; one by a scale, and one by a zero point
        each = 2 * count + (1 if weight.groups > 1 else 0) + (0 if weight.zeros is None else 1)
        end = self.problem.groups * each * point.rows * point.vectors / self.machine.pipes
        if weight.encoding.bits == 4:
            tiles = point.block if point.by_rows else math.ceil(nominal(weight.product.m) / point.rows)
            end += UNPACK_CYCLES * weight.depth / 8 * point.vectors / tiles
        return self._in_bytes.estimate(replace(point, rows=point.rows * count), end)

    def build(self, point: Tiling) -> Implementation:
        """The code, and how the weight and its scales are packed into panels."""
        problem, columns, offset = self.problem, point.columns, self.problem.offset
        weight, bits = problem.weight, problem.weight.encoding.bits
        floats = self.machine.multiply_add(point.lanes)
        bytes_ = self.machine.multiply_add(point.lanes, *self.problem.in_bytes.operands)
        packings: dict[int, Packing] = {
            weight.integers: Bytes(columns, bytes_.k, bits, problem.size, problem.shift, offset),
            weight.scales: OfGroups(columns, "float32"),
        }
        if weight.zeros is not None:
            packings[weight.zeros] = ZeroPoints(columns, offset)
        params = weight.product.params
        arrays = {i: packing.arrays(ArrayType.of(params[i])) for i, packing in packings.items()}
        return Implementation(write(self.problem, point, floats, bytes_, arrays), packings)
