"""The blockings of an attention by instructions on matrices, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.lower.nominal import batch, nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.gpu.estimate import BlockStep, steps_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import is_transposed
from dsc.targets.gpu.matrix.side import PAIR, WORD_BITS
from dsc.targets.gpu.matrix.space import LOAD_INSTRUCTIONS
from dsc.targets.gpu.matrix.tiling import WORD_BYTES
from dsc.targets.gpu.matrix_attention.blocking import DOWN, KEYS, STAGES, WARPS, Blocking, Shape
from dsc.targets.gpu.matrix_attention.chain import Chain
from dsc.targets.gpu.matrix_attention.code import write
from dsc.targets.gpu.matrix_attention.sides import Sides
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd

SCORE_INSTRUCTIONS = 12
"""For a score: scale, mask, largest, difference, exponential, sum, rounding; and its part of what results want."""
EXPONENTIALS_PER_CYCLE = 16
"""Of a multiprocessor (CUDA C++ Programming Guide 13.0, table of arithmetic throughput, special functions); of AMD's
compute units a quarter of the rate of other arithmetic (RDNA 3 and CDNA 3 ISA guides, transcendentals)."""


@dataclass(frozen=True, eq=False)
class AttentionSpace:
    """Queries and keys of a block, for each of the machine's instructions."""

    problem: Problem
    machine: Gpu
    sides: Sides
    instructions: Mapping[str, tuple[MultiplyAdd, Chain]]
    """By intrinsic."""

    @cached_property
    def _points(self) -> tuple[Blocking, ...]:
        return tuple(point for name in self.instructions for point in self._blockings(name))

    def points(self) -> Sequence[Blocking]:
        """Those that fit the machine."""
        return self._points

    def _blockings(self, name: str) -> Iterator[Blocking]:
        stages = STAGES if self.machine.copies_to_shared else STAGES[:1]
        for warps in WARPS:
            for down in DOWN:
                for keys in KEYS:
                    for count in stages:
                        blocking = Blocking(name, warps, down, keys, count)
                        if self.shape(blocking).suits(self.machine):
                            yield blocking

    def shape(self, point: Blocking) -> Shape:
        """What a point makes of these heads."""
        _, chain = self.instructions[point.instruction]
        transposed = is_transposed(self.sides.values, chain.fragments)
        return Shape(point, chain, self.problem.depth, self.problem.width, transposed)

    def estimate(self, point: Blocking) -> float:
        """Seconds: of each step both products and, between them, its softmax; or reading operands, bringing them to
        shared memory, waiting for them."""
        row, _ = self.instructions[point.instruction]
        problem, machine, shape = self.problem, self.machine, self.shape(point)
        heads, queries, keys = batch(problem.batch), nominal(problem.queries), nominal(problem.keys)
        blocks = heads * math.ceil(queries / shape.queries)
        threads, softmax = point.warps * machine.warp, self._softmax_cycles(shape) * row.m * row.n * row.k * row.rate
        step = BlockStep(
            threads=threads,
            registers=shape.registers(threads),
            shared_bytes=shape.shared_bytes,
            products=shape.queries * point.keys * (shape.depth + shape.width) + int(softmax),
            shared_traffic=float(self._read_bytes(shape) + shape.staged_words * WORD_BYTES / point.stages),
            instructions=self._load_instructions(shape),
            ahead=point.stages - 1,
        )
        loaded = self.sides.keys.bits / 8 * blocks * keys * (problem.depth + problem.width)
        moved = sum(volume(tensor.shape) * element_bytes(tensor) for tensor in (*problem.params, problem.output))
        return steps_seconds(machine, step, row, blocks, math.ceil(keys / point.keys), moved, loaded)

    def _softmax_cycles(self, shape: Shape) -> float:
        """Of a multiprocessor, for a step of a block. A warp has nothing to multiply in the meantime: its products
        count as if they came after that."""
        scores, results = shape.queries * shape.blocking.keys, shape.queries * shape.width
        rate = max(row.rate for row in self.machine.multiply_adds("float32", "float32", "float32") if row.m == 1)
        arithmetic = (scores * SCORE_INSTRUCTIONS + results) / (self.machine.warp * rate)
        return max(arithmetic, scores / EXPONENTIALS_PER_CYCLE)

    def _read_bytes(self, shape: Shape) -> int:
        """From shared memory, by all warps, in a step."""
        point, bits = shape.blocking, self.sides.keys.bits
        return point.warps * point.keys * (shape.depth + shape.width) * bits // 8

    def _load_instructions(self, shape: Shape) -> float:
        """Of all warps, in a step, to bring keys and values to shared memory."""
        loads = 0.0
        for side, elements in ((self.sides.keys, shape.depth), (self.sides.values, shape.width)):
            in_lines = side.together_in_lines
            if not is_transposed(side, shape.chain.fragments):
                in_lines = min(in_lines, PAIR)  # see transposing.py
            together = max(side.together_in_depth, in_lines)
            at_once = together if together * side.bits >= WORD_BITS else 1
            loads += shape.blocking.keys * elements / at_once
        return loads * LOAD_INSTRUCTIONS / self.machine.warp

    def build(self, point: Blocking) -> Implementation:
        """The code."""
        return Implementation(write(self.problem, self.sides, self.shape(point), self.machine))
