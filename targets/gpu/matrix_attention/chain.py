"""How the sums of one product become an operand of the next without leaving their lanes.

Of a matrix of sums a lane has some elements of a few lines, rows or columns; of an operand, elements of a few lines
too. Where these are the same lines, sums are an operand once they are rounded, but for the order of its depth: a lane
has other places of its lines than an operand would have there. A product is a sum over its depth in any order, so it is
enough that both operands have the same: the first product is asked for the lines that the second wants at a place.

All of it follows from where `Fragments` say that elements are (`position`, `held`); nothing is listed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lcm

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import simplify
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS

Place = tuple[int, int]
"""Line, and place in the line."""


def chain_of(fragments: Fragments, warp: int, chunk: int) -> Chain | None:
    """How sums become an operand in warps of so many lanes; None where they do not without changing lanes.

    chunk: elements of 16 bytes of an operand.
    """
    ways = (Chain(fragments, warp, chunk, by_rows) for by_rows in (True, False))
    return next((chain for chain in ways if chain.is_possible()), None)


@dataclass(frozen=True)
class Chain:
    """Matrices of sums whose lines are rows, if `by_rows`, or columns, as operands with these lines."""

    fragments: Fragments
    warp: int
    chunk: int
    by_rows: bool

    @property
    def lines(self) -> int:
        """Of a matrix of sums, and of an operand."""
        return self.fragments.rows if self.by_rows else self.fragments.columns

    @property
    def across(self) -> int:
        """Sums of a line."""
        return self.fragments.columns if self.by_rows else self.fragments.rows

    @property
    def depth(self) -> int:
        """Elements of a line of an operand."""
        return self.fragments.chunks * self.chunk

    @property
    def unit(self) -> int:
        """Elements of a line that are both whole matrices of sums and whole operands."""
        return lcm(self.across, self.depth)

    @property
    def elements(self) -> int:
        """Of an operand, that a lane has."""
        return self.fragments.words * self.per_word

    @property
    def per_word(self) -> int:
        """Elements in a register of an operand."""
        return self.chunk // CHUNK_WORDS

    def place(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """The line of a sum, and its place in the line."""
        row, column = self.fragments.position(lane, register)
        return (row, column) if self.by_rows else (column, row)

    def multiply(
        self, sums: tirx.Buffer, at: Expr, own: tirx.Buffer, own_at: Expr, other: tirx.Buffer, other_at: Expr
    ) -> None:
        """Adds products to sums. `own` is the operand that has the lines of the sums."""
        if self.by_rows:
            self.fragments.multiply(sums, at, own, own_at, other, other_at)
        else:
            self.fragments.multiply(sums, at, other, other_at, own, own_at)

    # --- what a lane has: its first one, and those that differ from it in one bit tell of all

    @cached_property
    def slots(self) -> tuple[int, ...]:
        """For each register of sums, to which of the lane's lines it belongs."""
        return _numbered(self._sums(0))

    @cached_property
    def sharers(self) -> tuple[int, int]:
        """How many lanes share a line of sums, and how far apart they are."""
        first = self._sums(0)[0][0]
        found = [lane for lane in self._bits if self._sums(lane)[0][0] == first]
        return 1 << len(found), found[0]

    @cached_property
    def run(self) -> int:
        """Neighbouring registers of sums that are neighbours in their line: 1, 2 or 4, which is 16 bytes."""
        return _run(self._sums(0))

    @cached_property
    def neighbours(self) -> int:
        """Neighbouring registers that are neighbours in an operand's depth: 1, 2 or 4."""
        places = [(tirx.const(line, "int32"), self.ordered(tirx.const(at, "int32"))) for line, at in self._sums(0)]
        return _run([_number(place) for place in places])

    def source(self, operand: int, element: int) -> tuple[int, int, int]:
        """Where an element of a lane's operand, of those in a unit, comes from: which of the matrices of sums in the
        unit, which register of that, and of which of the lanes that share the line, the first, the second..."""
        slot, number = self._order_of_elements[operand, element]
        sums = self._registers(slot)
        matrix, register = sums[number % len(sums)]
        return matrix, register, number // len(sums)

    # --- the order of the depth

    def ordered(self, place: Expr) -> Expr:
        """The place in an operand's depth of what is at a place of a line of sums: its bits, in another order."""
        if self.is_in_order:
            return place
        found = tirx.floordiv(place, self.unit) * self.unit
        for low, count, moved in _runs(self._moved):
            found = found + tirx.floormod(tirx.floordiv(place, low), count) * moved
        return found

    @property
    def is_in_order(self) -> bool:
        """Whether all places are the same in both."""
        return all(bit == moved for bit, moved in self._moved.items())

    @cached_property
    def _moved(self) -> dict[int, int]:
        """For each bit of a place its value in an operand's depth, as lanes have it that differ in a bit or not."""
        found = {place: depth for lane in (0, *self._bits) for place, depth in self.places(lane)}
        return {bit: found[bit] for bit in _powers(self.unit)}

    def places(self, lane: int) -> Iterator[tuple[int, int]]:
        """For each sum that a lane has, in a unit: its place in the line, and that in an operand's depth."""
        count, apart = self.sharers
        rank = lane // apart % count if self.is_shared else 0
        sums, held = self._sums(lane), self._held(lane)
        for operand, element in self._order_of_elements:
            matrix, register, owner = self.source(operand, element)
            if owner == rank:
                yield matrix * self.across + sums[register][1], operand * self.depth + held[element][1]

    @property
    def is_shared(self) -> bool:
        """Whether all lanes that share a line of sums have the same elements of an operand: each also what the others
        have of sums."""
        return any(self.source(*each)[2] for each in self._order_of_elements)

    def is_possible(self) -> bool:
        """Whether lanes have the same lines of sums as of operands, and exchange at most with one other."""
        lanes = (0, *self._bits)
        same = all({line for line, _ in self._sums(lane)} == {line for line, _ in self._held(lane)} for lane in lanes)
        whole = len(self._order_of_elements) % (len(self.slots) * (self.unit // self.across)) == 0
        return same and whole and (not self.is_shared or self.sharers[0] == 2)

    # --- numbers

    @property
    def _bits(self) -> tuple[int, ...]:
        """The lanes that differ from the first in one bit."""
        return _powers(self.warp)

    @cached_property
    def _order_of_elements(self) -> dict[tuple[int, int], tuple[int, int]]:
        """For each operand of a unit and each of its elements in a lane, the line's slot, and the how manieth of it."""
        slots = _numbered(self._held(0))
        found: dict[tuple[int, int], tuple[int, int]] = {}
        counts = dict.fromkeys(slots, 0)
        for operand in range(self.unit // self.depth):
            for element, slot in enumerate(slots):
                found[operand, element] = slot, counts[slot]
                counts[slot] += 1
        return found

    def _registers(self, slot: int) -> list[tuple[int, int]]:
        """Matrices of a unit, and their registers, in which a lane has the sums of one of its lines."""
        own = [register for register, each in enumerate(self.slots) if each == slot]
        return [(matrix, register) for matrix in range(self.unit // self.across) for register in own]

    def _sums(self, lane: int) -> list[Place]:
        """Where the sums of a lane are."""
        at = tirx.const(lane, "int32")
        return [_number(self.place(at, register)) for register in range(self.fragments.sums)]

    def _held(self, lane: int) -> list[Place]:
        """Where the elements of an operand are that a lane has."""
        at = tirx.const(lane, "int32")
        return [_number(self.fragments.held(at, element, self.chunk)) for element in range(self.elements)]


def _number(place: tuple[Expr, Expr]) -> Place:
    line, inside = (simplify(index) for index in place)
    assert isinstance(line, int)  # of constants
    assert isinstance(inside, int)
    return line, inside


def _run(places: Sequence[Place]) -> int:
    """The most places, 4 or 2 or 1, that are neighbours in a line wherever they begin at a multiple of their number."""
    for run in (4, 2):
        first = [places[i - i % run] for i in range(len(places))]
        if all(place == (line, at + i % run) for i, (place, (line, at)) in enumerate(zip(places, first, strict=True))):
            return run
    return 1


def _numbered(places: list[Place]) -> tuple[int, ...]:
    """For each place, the how manieth line it is on, of those that occur."""
    lines = sorted({line for line, _ in places})
    return tuple(lines.index(line) for line, _ in places)


def _powers(limit: int) -> tuple[int, ...]:
    """Of two, below `limit`."""
    return tuple(1 << bit for bit in range(limit.bit_length() - 1))


def _runs(moved: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    """Neighbouring bits that stay neighbours: the lowest, how many numbers they make, and where the lowest goes."""
    bits = sorted(moved)
    while bits:
        low, count = bits[0], 1
        while count < len(bits) and moved[bits[count]] == moved[low] << count:
            count += 1
        yield low, 1 << count, moved[low]
        bits = bits[count:]
