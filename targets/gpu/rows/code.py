"""The code of rows: each is loaded once, in vectors, reduced by the threads that share it, and computed from registers.

Threads whose vector is beyond the end of their row load its last one again, and put it to no reduction. What is
computed of an element on the way, such as the sum that is normalized, stays in a register from one reduction to the
next, and so does what a reduction is made of where the result is made of it too, as the exponentials of a softmax. Rows
that are too long for that are loaded for each reduction, and for the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import sym, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, divides
from dsc.targets.cpu.inline import identity
from dsc.targets.gpu.access import Access, limit
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Combiner, Elements
from dsc.targets.gpu.generic.rows import Output
from dsc.targets.gpu.launch import Group, launch
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.neighbours import Read
from dsc.targets.gpu.rows.program import Program, Reduction
from dsc.targets.gpu.rows.registers import Registers
from dsc.targets.gpu.rows.sharing import Sharing, vector_of
from dsc.targets.tir.loops import Loops, argument, flat, function, when


def write(program: Program, sharing: Sharing, machine: Gpu) -> tirx.PrimFunc:
    """The function that computes `program`."""
    with function() as made:
        _Writer(program, sharing, machine).write()
    return made.get()


@dataclass(frozen=True)
class _Vector:
    """What a thread has at once."""

    elements: list[list[Expr]]
    """The indices of each, along rows and places."""
    inside: Expr | None
    """Whether it is within its row; None where all are."""


class _Writer:
    def __init__(self, program: Program, sharing: Sharing, machine: Gpu) -> None:
        self.program, self.sharing, self.machine = program, sharing, machine
        self.loops = Loops.over(program.inputs) if not program.scalars else Loops("int64")
        self.known = sym.Analyzer()
        """The ranges of indices."""

    def write(self) -> None:
        """Declares the parameters and writes the launch."""
        program, sharing = self.program, self.sharing
        memory = {tensor: argument(f"in{i}", tensor.shape, tensor.dtype) for i, tensor in enumerate(program.inputs)}
        for scalar in program.scalars:
            T.arg(scalar.name, scalar)
        self.written = [(argument(f"out{i}", t.shape, t.dtype), t) for i, t in enumerate(program.results)]
        self.registers = Registers(memory, self.known, self.loops)
        reduced = {found.tensor: self.registers.reduction(found.tensor) for found in program.reductions}
        self.elements = Elements(self.registers.leaves() | reduced, self.known)
        bundles = _part(program.count, sharing.rows)
        with launch(ceildiv(bundles, sharing.groups), sharing.threads, self.loops) as (block, thread):
            self.group = Group(self.machine, sharing.group, thread, self.loops, sharing.apart)
            with when(None if isinstance(bundles, int) else bundles > self.loops.const(0)):
                self._bundle(T.Bind(block * sharing.groups + self.group.row), bundles)

    def _bundle(self, number: Expr, bundles: Dim) -> None:
        """The rows of a group of threads; groups beyond the last rows compute these again, and store nothing."""
        inside = None if divides(self.sharing.groups, bundles) else number < self.loops.const(bundles)
        if inside is not None:  # all threads take part in exchanges
            number = T.Bind(tirx.min(number, self.loops.const(bundles) - 1))
        limit(self.known, number, 0, bundles)
        self.rows = self._neighbours(number, self.program.rows, self.sharing.rows)
        keeps = self.sharing.keeps(self.program.length)
        self.kept = self._vectors(0, self.program.reduced_reads) if keeps else None
        for found in self.program.reductions:
            self._reduce(found)
        with when(inside), self.elements.scope(), self.registers.scope():
            self._store()

    # --- places

    def _vector(self, step: Expr | int) -> _Vector:
        """The thread's vector of a step."""
        sharing, length = self.sharing, self.program.length
        width, group = sharing.places, sharing.group
        number = T.Bind(self.loops.const(step) * group + self.group.lane)
        inside, each = None, group * width
        if not ((step + 1) * each <= length if isinstance(step, int) else divides(sharing.vectors * each, length)):
            inside = number < self.loops.const(length // width)
            number = T.Bind(tirx.min(number, self.loops.const(length // width - 1)))
        limit(self.known, number, 0, length // width)
        places = self._neighbours(number, self.program.places, width)
        return _Vector([[*row, *place] for row in self.rows for place in places], inside)

    def _neighbours(self, number: Expr, axes: Sequence[Axis], width: int) -> list[list[Expr]]:
        """The indices along `axes` of the elements of a vector, by its number among those of that width."""
        sizes = [axis.size for axis in axes]
        if not sizes:
            return [[]]
        if width == 1 or divides(width, sizes[-1]):
            *outer, inner = self._indices(number, [*sizes[:-1], _part(sizes[-1], width)])
            return [[*outer, inner * width + lane if width > 1 else inner] for lane in range(width)]
        return [self._indices(number * width + lane, sizes) for lane in range(width)]

    def _indices(self, position: Expr, sizes: Sequence[Dim]) -> list[Expr]:
        at = self.loops.unravel(position, sizes)
        for index, size in zip(at, sizes, strict=True):
            limit(self.known, index, 0, size)
        return at

    def _load(self, reads: Sequence[Read], vector: _Vector) -> None:
        """What a vector's elements are computed of, as far as it is known where that lies."""
        for read in reads:
            if read.access is not None and read.access.is_within():
                self.registers.load(read, vector.elements, self._width(read.access, self._along, len(vector.elements)))

    @property
    def _along(self) -> range:
        """The axes along which the elements of a vector are neighbours."""
        return self.program.row_axes if self.sharing.by_row else self.program.place_axes

    def _width(self, access: Access, axes: range, count: int) -> int:
        return vector_of(access, axes, count, self.machine)

    # --- reductions

    def _reduce(self, found: Reduction) -> None:
        """A reduction of each row of the bundle: by each thread of what it has, then by all of the group."""
        combine, rows = Combiner(found.tensor.op), self.sharing.rows
        totals: tirx.Buffer = T.alloc_buffer((rows,), combine.dtype, scope="local")
        for row in range(rows):
            T.buffer_store(totals, combine.start, [row])

        def add(vector: _Vector) -> None:
            terms: tirx.Buffer = T.alloc_buffer((len(vector.elements),), combine.dtype, scope="local")
            for lane, element in enumerate(vector.elements):
                T.buffer_store(terms, found.term(self.elements, self.program, element), [lane])
            count = self.sharing.places
            while count > 1:
                count //= 2
                for lane in range(count):
                    T.buffer_store(terms, combine(terms[lane], terms[lane + count]), [lane])
            with when(vector.inside):
                for row in range(rows):
                    T.buffer_store(totals, combine(totals[row], terms[row]), [row])

        self._each_vector(found.reads, add)
        self.group.reduce(totals, combine)
        for row, indices in enumerate(self.rows):
            self.registers.put(found.tensor, self.program.at(found.at, self._anywhere(indices)), totals[row])

    def _each_vector(self, reads: Sequence[Read], visit: Callable[[_Vector], None]) -> None:
        """The vectors of a thread, one after the other, with what is read for them in registers."""
        if self.kept is not None:
            for vector in self.kept:
                self._load(reads, vector)
                visit(vector)
            return
        count = self.sharing.vectors
        rounds = ceildiv(self.sharing.steps(self.program.length), count)
        with self.loops.each(rounds) as step, self.elements.scope(), self.registers.scope():
            for vector in self._vectors(step * count, reads):
                visit(vector)

    def _vectors(self, first: Expr | int, reads: Sequence[Read]) -> list[_Vector]:
        """Those that a thread has at once, from one of its steps on, with what is read for them asked for."""
        vectors = [self._vector(first + i) for i in range(self.sharing.vectors)]
        for vector in vectors:
            self._load(reads, vector)
        return vectors

    def _anywhere(self, row: Sequence[Expr]) -> list[Expr]:
        """The indices of an element of a row, where it does not matter of which."""
        return [*row, *(self.loops.const(0) for _ in self.program.places)]

    # --- results

    def _store(self) -> None:
        """The results of a bundle: those that have one element for each row, and those with one for each element."""
        outputs = list(zip(self.program.outputs, self.program.stored, strict=True))
        single = [(output, access) for output, access in outputs if not output.walked]
        walked = [(output, access) for output, access in outputs if output.walked]
        if single:
            rows = [self._anywhere(row) for row in self.rows]
            with when(self.group.is_first), self.elements.scope(), self.registers.scope():
                for output, access in single:
                    self._store_vector(output, access, rows, self.program.row_axes)

        def store(vector: _Vector) -> None:
            with when(vector.inside), self.elements.scope(), self.registers.scope():
                for output, access in walked:
                    self._store_vector(output, access, vector.elements, self._along)

        if walked:
            self._each_vector(self.program.reads, store)

    def _store_vector(self, output: Output, access: Access, here: Sequence[Sequence[Expr]], axes: range) -> None:
        """Neighbours of a result, as many at once as memory has side by side."""
        width, own = self._width(access, axes, len(here)), Loops()
        values: tirx.Buffer = T.alloc_buffer((len(here),), output.tensor.dtype, scope="local")
        for lane, element in enumerate(here):
            T.buffer_store(values, self.elements.at(output.tensor, self.program.at(output.at, element)), [lane])
        for first in range(0, len(here), width):
            span = self.loops.span(T.Bind(access.position(here[first])), width)
            for buffer, tensor in self.written:
                if identity(tensor) == identity(output.tensor):
                    T.buffer_store(flat(buffer), values[own.span(first, width)], [span])


def _part(size: Dim, width: int) -> Dim:
    """How many vectors make up a size that they divide."""
    return size // width if isinstance(size, int) else tirx.floordiv(size, width)
