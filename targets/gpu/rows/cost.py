"""What rows cost: their loads and stores by how they lie across a warp, their arithmetic, and their exchanges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import dims, same
from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.access import Access, ranges
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.estimate import Launch, resident_blocks, seconds
from dsc.targets.gpu.generic.cost import BARRIER_CYCLES, SHARED_CYCLES, SHUFFLE_CYCLES, lanes, operations
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.neighbours import Read, distinct
from dsc.targets.gpu.rows.program import Program, number
from dsc.targets.gpu.rows.sharing import Sharing, vector_of
from dsc.targets.tir.loops import function

REGISTERS = 32
"""Of a thread, for addresses and what belongs to a row."""
REGISTERS_OF_ELEMENT = 2
"""That a thread keeps: the number, and what is made of it."""
SECTORS_PER_CYCLE = 4
"""That a multiprocessor takes from its cache: 128 bytes, on all of these."""
EXCHANGE_OPERATIONS = 2
"""Of a thread, for an exchange of registers and what is done with what it gets."""
LOAD_OPERATIONS = 3
"""Of a thread, for a load or a store: its address, whether it is within the row, and itself."""
L1_BYTES = 16 << 10
"""That the first cache of a multiprocessor has at least: 16 KB on CDNA 2 (its white paper), more on the others."""
FAR = 1 << 40
"""Elements from one walk through memory to the next: side by side with nothing."""


@dataclass(frozen=True)
class Traffic:
    """What the threads of a warp load, or store, of one tensor."""

    instructions: float
    sectors: float
    """That are touched."""
    ideal: float
    """If all that is wanted lay side by side."""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.instructions + other.instructions, self.sectors + other.sectors, self.ideal + other.ideal)

    def __mul__(self, times: float) -> Traffic:
        return Traffic(self.instructions * times, self.sectors * times, self.ideal * times)


NOTHING = Traffic(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Moved:
    """By the threads of a warp, for a vector of each."""

    alike: Traffic
    """Of what is the same for all rows, as the scale of a norm."""
    rest: Traffic

    @property
    def all(self) -> Traffic:
        return self.alike + self.rest


@dataclass(frozen=True)
class Work:
    """Instructions of a thread."""

    row: int
    """For what belongs to a row."""
    element: int
    """For each element that is kept from one reduction to the next."""
    element_again: int
    """For each that is loaded and computed again."""


@dataclass(frozen=True, eq=False)
class Cost:
    """Of one program, by its sharings."""

    program: Program
    machine: Gpu
    _known: dict[Sharing, Moved] = field(default_factory=dict, repr=False)

    def seconds(self, sharing: Sharing) -> float:
        """Of the launch. What its last blocks exchange is not hidden behind anything."""
        machine, length = self.machine, self.program.length
        bundles = math.ceil(nominal(self.program.count) / sharing.rows)
        blocks = math.ceil(bundles / sharing.groups)
        warps = blocks * sharing.threads / machine.warp
        traffic = self.moved(sharing).all * (warps * sharing.steps(length))
        loading = max(traffic.instructions, traffic.sectors / SECTORS_PER_CYCLE)
        addressing = LOAD_OPERATIONS * traffic.instructions * machine.warp
        computing = (warps * machine.warp * self._operations(sharing) + addressing) / lanes(machine)
        launch = Launch(
            blocks,
            sharing.threads,
            cycles=max(loading, computing),
            bytes=self._bytes,
            l2_bytes=self.l2_bytes(sharing, blocks),
            registers=self._registers(sharing),
            in_flight_bytes=self._in_flight(sharing),
        )
        resident = resident_blocks(machine, launch)
        if resident == 0:
            return math.inf
        rounds = math.ceil(blocks / (machine.cores * resident))
        return seconds(machine, launch) + rounds * self._exchange_cycles(sharing) / machine.frequency

    def coalescing(self, sharing: Sharing) -> float:
        """Share of the sectors that are moved which an ideal layout would have moved."""
        traffic = self.moved(sharing).all
        return traffic.ideal / traffic.sectors if traffic.sectors else 1.0

    # --- arithmetic

    def _operations(self, sharing: Sharing) -> float:
        """Of a thread."""
        elements = sharing.steps(self.program.length) * sharing.vector
        exchanges = len(self.program.reductions) * math.log2(_in_warp(sharing, self.machine))
        each = self._work.element if sharing.keeps(self.program.length) else self._work.element_again
        return elements * each + sharing.rows * (self._work.row + EXCHANGE_OPERATIONS * exchanges)

    @cached_property
    def _work(self) -> Work:
        """By the code of one element, and of two of one row."""
        one, two = self._counted(1), self._counted(2)
        again = self._counted(2, kept=False) - self._counted(1, kept=False)
        combined = len(self.program.reductions)
        return Work(2 * one - two, two - one + combined, again + combined)

    def _counted(self, count: int, *, kept: bool = True) -> int:
        """Instructions for so many elements of a row, with what belongs to the row."""
        program = self.program
        rows, reduced = [axis.var for axis in program.rows], [found.tensor for found in program.reductions]
        known = ranges([axis.var for axis in program.axes], [axis.size for axis in program.axes])
        elements = Elements({tensor: number(tensor) for tensor in [*program.inputs, *reduced]}, known)
        with function() as made:
            for i in range(count):
                place = [tirx.Var(f"{axis.var.name}_{i}", str(axis.var.ty)) for axis in program.places]
                self._compute(elements, [*rows, *place], kept=kept)
        return operations(made.get())

    def _compute(self, elements: Elements, here: Sequence[Expr], *, kept: bool) -> None:
        """Everything of one element."""
        for found in self.program.reductions:
            with nullcontext() if kept else elements.scope():
                T.evaluate(found.term(elements, self.program, here))
        for output in self.program.outputs:
            T.evaluate(elements.at(output.tensor, self.program.at(output.at, here)))

    def _exchange_cycles(self, sharing: Sharing) -> float:
        """From what each thread has of all reductions to what all of its group have: one waits for the other."""
        inside = _in_warp(sharing, self.machine)
        warps = sharing.group // inside
        across = BARRIER_CYCLES + SHARED_CYCLES * warps if warps > 1 else 0.0
        return len(self.program.reductions) * (SHUFFLE_CYCLES * math.log2(inside) + across)

    # --- memory

    @property
    def _passes(self) -> list[tuple[Read, ...]]:
        """What is read for each reduction, and for the results."""
        return [*(found.reads for found in self.program.reductions), self.program.reads]

    def l2_bytes(self, sharing: Sharing, blocks: int) -> float:
        """From L2 and to it: what is alike for all rows once for each block, whose warps ask for it at about the same
        time; the rest as often as warps do."""
        steps = math.ceil(blocks * sharing.threads / self.machine.warp) * sharing.steps(self.program.length)
        each, moved, once = steps * self.machine.sector_bytes, self.moved(sharing), self._alike_bytes
        asked = moved.alike.sectors * each
        return moved.rest.sectors * each + (min(asked, blocks * once) if once <= L1_BYTES else asked)

    @cached_property
    def _alike_bytes(self) -> int:
        """Of what is alike for all rows, each once."""
        alike = distinct([read for reads in self._passes for read in reads if self._is_alike(read)])
        return sum(self._elements(read) * element_bytes(read.tensor) for read in alike)

    def moved(self, sharing: Sharing) -> Moved:
        """In all reductions and results, however many groups are in a block."""
        one = replace(sharing, threads=sharing.group * sharing.apart)
        if one not in self._known:
            self._known[one] = self._moved(one)
        return self._known[one]

    def _moved(self, sharing: Sharing) -> Moved:
        alike = rest = NOTHING
        for read in self._loaded(sharing):
            traffic = self._traffic_of(read.access, element_bytes(read.tensor), sharing)
            alike, rest = (alike + traffic, rest) if self._is_alike(read) else (alike, rest + traffic)
        for output, access in zip(self.program.outputs, self.program.stored, strict=True):
            if output.walked:
                rest += self._traffic_of(access, element_bytes(output.tensor), sharing)
        return Moved(alike, rest)

    def _is_alike(self, read: Read) -> bool:
        return read.access is not None and all(same(read.access.steps[axis], 0) for axis in self.program.row_axes)

    def _loaded(self, sharing: Sharing) -> list[Read]:
        """What a thread loads of its part of a row: once, where it keeps that, else for each reduction and result."""
        loaded = [read for reads in self._passes for read in reads]
        return distinct(loaded) if sharing.keeps(self.program.length) else loaded

    def _traffic_of(self, access: Access | None, size: int, sharing: Sharing) -> Traffic:
        """Of one tensor; nothing of what is the same for a whole row, which is loaded once."""
        machine, program = self.machine, self.program
        if access is None:
            return Traffic(1, machine.warp, machine.warp * size / machine.sector_bytes) * sharing.vector
        if all(same(access.steps[axis], 0) for axis in program.place_axes):
            return NOTHING
        along = program.row_axes if sharing.by_row else program.place_axes
        width = vector_of(access, along, sharing.vector, machine)
        run, pieces = width, 1
        for count, step in self._spread(access, sharing):
            if step == run:
                run *= count
            elif step != 0:
                pieces *= count
        aligned = access.together(along, machine.sector_bytes // size) if run > 1 else 1
        sectors = pieces * (1 + (run - min(aligned, run)) * size / machine.sector_bytes)
        ideal = pieces * run * size / machine.sector_bytes
        return Traffic(1, sectors, ideal) * (sharing.vector / width)

    def _spread(self, access: Access, sharing: Sharing) -> list[tuple[int, int]]:
        """The threads of a warp: how many are so many elements apart, and how many of those, and so on; nearest
        first."""
        program, warp = self.program, self.machine.warp
        inside = _in_warp(sharing, self.machine)
        rows = _Walk.of(access, program.row_axes).spread(warp // inside, sharing.rows)
        places = _Walk.of(access, program.place_axes).spread(inside, sharing.places)
        return sorted([*rows, *places], key=lambda level: level[1])

    @cached_property
    def _bytes(self) -> float:
        """Read from each input, at most all of it, and written."""
        program, total = self.program, 0.0
        for tensor in program.inputs:
            reads = [read for each in self._passes for read in each if read.tensor is tensor]
            whole = volume(dims(tensor.shape))
            total += min(whole, sum(map(self._elements, distinct(reads)))) * element_bytes(tensor)
        return total + sum(volume(dims(out.tensor.shape)) * element_bytes(out.tensor) for out in program.outputs)

    def _elements(self, read: Read) -> int:
        """That are read, each once."""
        access, axes = read.access, self.program.axes
        steps = [1] * len(axes) if access is None else access.steps
        return volume(axis.size for axis, step in zip(axes, steps, strict=True) if not same(step, 0))

    def _in_flight(self, sharing: Sharing) -> int:
        """Bytes that a thread asks for before it waits: of all that it has at once."""
        reads = self.program.reduced_reads
        return sharing.vectors * sharing.vector * sum(element_bytes(read.tensor) for read in reads)

    def _registers(self, sharing: Sharing) -> int:
        return REGISTERS + REGISTERS_OF_ELEMENT * sharing.vectors * sharing.vector


def _in_warp(sharing: Sharing, machine: Gpu) -> int:
    """Threads of a group that are in one warp."""
    return max(1, min(sharing.group, machine.warp // sharing.apart))


@dataclass(frozen=True)
class _Walk:
    """The first elements along some axes: at even distances."""

    step: int
    size: int

    @staticmethod
    def of(access: Access, axes: range) -> _Walk:
        """Along axes the last of which varies fastest; those that go on where the last one ends are part of it."""
        step, size = 0, 1
        for axis in reversed(axes):
            if same(access.sizes[axis], 1):
                continue
            if size == 1:
                step = nominal(access.steps[axis])
            elif nominal(access.steps[axis]) != step * size:
                break
            size *= nominal(access.sizes[axis])
        return _Walk(step, size)

    def spread(self, count: int, width: int) -> list[tuple[int, int]]:
        """Of `count` threads with so many elements each: those that are at even distances, and such groups, which are
        somewhere."""
        near = max(1, min(count, self.size // width))
        return [(near, width * self.step), (math.ceil(count / near), FAR if self.step else 0)]
