"""The ways to compute a product by a weight of few bits, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.lower.nominal import batch
from dsc.targets.cpu.gemm.space import HIDDEN, MAX_VECTORS, TILE_CYCLES, GemmSpace
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.weight_only.code import write
from dsc.targets.cpu.weight_only.packing import OfGroups, Words
from dsc.targets.cpu.weight_only.problem import WeightOnlyProduct
from dsc.targets.kernel import ArrayType, Implementation, Packing

MOST_ROWS = 8
"""That are multiplied by floats in registers: each row takes two registers for each vector."""
SCRATCH = 5
"""Registers for an element of `a` and vectors on their way from words to floats: with fewer, LLVM spilled."""


@dataclass(frozen=True)
class Unpacking:
    """A point of the design space: a tiling, and where floats are made."""

    tiling: Tiling
    in_registers: bool


@dataclass(frozen=True, eq=False)
class WeightOnlySpace:
    """Few rows in registers, any number by panels, in the tilings of the product in floats."""

    problem: WeightOnlyProduct
    machine: Cpu

    def points(self) -> Sequence[Unpacking]:
        """All that are worth considering."""
        panels = [Unpacking(tiling, in_registers=False) for tiling in self._floats.points() if tiling.stacked == 1]
        return [*(Unpacking(tiling, in_registers=True) for tiling in self._few_rows()), *panels]

    def _few_rows(self) -> Iterator[Tiling]:
        """Tiles of all rows whose sums, twice, leave registers for words, floats and scales."""
        m, n = self.problem.product.m, self.problem.columns
        if not isinstance(m, int) or m > MOST_ROWS:
            return
        lanes = self.machine.lanes()
        constants = 0 if self.problem.zeros is None else 1
        of_a = 2 * m + 8 if self._depth > 1 else 0  # LLVM loads the next ones ahead, and begins with their words
        for vectors in range(1, min(MAX_VECTORS, math.ceil(n / lanes)) + 1):
            if vectors * (2 * m + 1 + constants) + of_a + SCRATCH <= self.machine.vector_registers:
                yield Tiling(m, vectors, lanes, "columns" if n > vectors * lanes else "none", depth=self._depth)

    @cached_property
    def _floats(self) -> GemmSpace:
        """The product with `b` in floats, which each task copies."""
        return GemmSpace(self.problem.product, self.machine)

    @cached_property
    def _depth(self) -> int:
        """Steps for which elements of `a` are loaded together, to be taken lane by lane."""
        lanes = self.machine.lanes()
        together = self.machine.lane_operand and self.problem.product.plain_a
        return lanes if together and self.problem.in_a_word % lanes == 0 else 1

    def estimate(self, point: Unpacking) -> float:
        """Seconds: that of the product in floats, or of unpacking and multiplying in registers."""
        return self._in_registers(point.tiling) if point.in_registers else self._floats.estimate(point.tiling)

    def _in_registers(self, tiling: Tiling) -> float:
        problem, machine = self.problem, self.machine
        batches, panels = batch(problem.product.batch), math.ceil(problem.columns / tiling.columns)
        instruction = machine.multiply_add(tiling.lanes)
        constants = 0 if problem.zeros is None else 1
        unpack, multiply = 3 + constants, tiling.rows  # two shifts and a conversion; a subtraction
        step = tiling.vectors * max((unpack + multiply) / machine.pipes, multiply / instruction.rate)
        step = max(step, instruction.latency, tiling.rows / machine.broadcasts)
        end = tiling.vectors * (2 * tiling.rows + 1 + 2 * constants) / machine.pipes + instruction.latency
        cycles = batches * panels * (problem.depth * step + problem.groups * end + TILE_CYCLES)
        columns = panels * tiling.columns
        size = columns * (4.0 * problem.words + problem.groups * (4 + constants))
        seconds = cycles / machine.frequency
        reading = size / machine.bandwidth(size)
        total = max(seconds, reading) + HIDDEN * min(seconds, reading)
        threads = min(batches * panels if tiling.axis == "columns" else 1, machine.cores)
        share = math.ceil(batches * panels / threads) / (batches * panels)
        return total * share + (machine.launch_seconds if threads > 1 else 0.0)

    def build(self, point: Unpacking) -> Implementation:
        """The code, and how the weight and its scales and zero points are packed into panels."""
        problem, columns = self.problem, point.tiling.columns
        packings: dict[int, Packing] = {
            problem.integers: Words(columns, problem.encoding.bits),
            problem.scales: OfGroups(columns, "float32"),
        }
        if problem.zeros is not None:
            packings[problem.zeros] = OfGroups(columns, "int8" if problem.encoding.signed else "uint8")
        params = problem.product.params
        arrays = {i: packing.arrays(ArrayType.of(params[i])) for i, packing in packings.items()}
        instruction = self.machine.multiply_add(point.tiling.lanes)
        return Implementation(write(problem, point.tiling, instruction, arrays, point.in_registers), packings)
