"""The ways from memory to shared memory: without registers, where the machine has that; by vectors; by elements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, dims, divides, product
from dsc.lower.floats import condition
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.contraction.loading import SEGMENTS, Loading
from dsc.targets.gpu.contraction.traffic import fetched
from dsc.targets.gpu.contraction.zero_points import BYTES
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import ALL_LANES
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Operand
from dsc.targets.gpu.matrix.side import PAIR, WORD_BITS, joined, packed, with_signs
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS, WORD_BYTES
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, flat, spread, when

WORD = "float32"
"""What shared memory, and registers on the way there, are declared as: bits of whatever type."""


@dataclass(eq=False)
class Transport(ABC):
    """Brings one operand's tiles to shared memory: chunks of a tile are shared out among the threads of a block."""

    operand: Operand
    shared: tirx.Buffer
    thread: Expr
    """The index in its block of the thread whose code is written."""
    threads: int
    """Of a block."""
    leaves: Mapping[te.Tensor, Leaf]
    """The inputs."""
    source: tirx.Buffer | None = None
    """The factor's memory, as one long array; None where elements are computed from `leaves`."""

    @property
    def loops(self) -> Loops:
        """Of the operand's indices."""
        return self.operand.loops

    @property
    def each(self) -> int:
        """Chunks of a thread."""
        return self.operand.tile.lines * self.operand.tile.chunks // self.threads

    @property
    def memory(self) -> tirx.Buffer:
        """The factor's."""
        assert self.source is not None, f"{type(self).__name__} loads from memory"
        return self.source

    @abstractmethod
    def begin(self, step: Expr, stage: Expr) -> None:
        """Starts what brings a step's tile to a stage that nobody reads."""

    @abstractmethod
    def finish(self, stage: Expr) -> None:
        """Does what is left to do, once what `begin` loads has been waited for in vain no longer."""

    def _part(self, i: Expr, words: int) -> tuple[Expr, Expr]:
        """Line and number in it of a thread's part of so many words: neighbouring threads have neighbours in memory, in
        a line or from line to line."""
        return self._at(i * self.threads + self.thread, words)

    def _at(self, position: Expr, words: int) -> tuple[Expr, Expr]:
        """Of all parts of so many words, in the order of memory."""
        segment = self._segment(words)
        rest, low = self.loops.split(position, segment)
        if segment * words == self.operand.tile.chunks * CHUNK_WORDS:
            return rest, low
        high, line = self.loops.split(rest, self.operand.tile.lines)
        return line, T.Bind(high * segment + low)

    def _segment(self, words: int) -> int:
        """Parts of so many words that are loaded together of a line."""
        return self.operand.segment(words * WORD_BITS // self.operand.side.bits)

    def _word(self, stage: Expr, line: Expr, piece: Expr, words: int) -> Expr:
        """Where a line's piece of so many words begins in shared memory."""
        chunk, part = self.loops.split(piece, CHUNK_WORDS // words)
        return T.Bind(self.operand.tile.place(stage, line, chunk) + part * words)


class AsynchronousCopies(Transport):
    """Memory is copied while threads do other things (cp.async); what is outside is filled with zeros, or by threads
    with zero points."""

    def begin(self, step: Expr, stage: Expr) -> None:
        width, side = self.operand.together, self.operand.side
        size = width * side.bits // 8
        instruction = f"cp.async.{'cg' if size == CHUNK_WORDS * WORD_BYTES else 'ca'}.shared.global"
        access = side.factor.access
        assert access is not None
        words = size // WORD_BYTES
        with unrolled(self.each * CHUNK_WORDS // words) as i:
            line, piece = self._part(i, words)
            first = self._word(stage, line, piece, words)
            place = self.operand.coordinates(step, line, piece * width)
            inside = self.operand.is_inside(access, *place)
            position = T.Bind(_guarded(inside, self.operand.position(access, *place), self.loops))
            target, source = tirx.address_of(self.shared[first]), tirx.address_of(self.memory[position])
            if inside is None or side.zero is None:
                given = [] if inside is None else [tirx.Select(inside, _bytes(size), _bytes(0))]
                T.evaluate(T.ptx[instruction](target, source, size, *given))
            else:
                with T.If(inside):
                    with T.Then():
                        T.evaluate(T.ptx[instruction](target, source, size))
                    with T.Else():
                        self._fill(first, words, place[0])

    def _fill(self, first: Expr, words: int, line: Expr) -> None:
        """Zero points of a line, to so many words of shared memory."""
        value = self.operand.fill(Elements(self.leaves), line)
        T.buffer_store(self.shared, spread(value, words), [self.loops.span(first, words)])

    def finish(self, stage: Expr) -> None:
        """Nothing: see `dsc.targets.gpu.matrix.code`, which waits."""


@dataclass(eq=False)
class ThroughRegisters(Transport):
    """Registers are loaded while another step is multiplied, and stored after it: by chunks, or by smaller pieces."""

    def __post_init__(self) -> None:
        """Allocates the registers in the current frame."""
        self.pieces = self.each * CHUNK_WORDS // self.words
        self.registers: tirx.Buffer = T.alloc_buffer((self.pieces * self.words,), WORD, scope="local")
        self.present: tirx.Buffer | None = None

    @property
    def words(self) -> int:
        """Of a piece, which one thread loads."""
        return CHUNK_WORDS

    def finish(self, stage: Expr) -> None:
        with unrolled(self.pieces) as i:
            line, piece = self._piece(i)
            word = self._word(stage, line, piece, self.words)
            value = self.registers[Loops().span(i * self.words, self.words)]
            if self.present is not None:
                is_present = tirx.NE(self.present[i], tirx.const(0, "int32"))
                value = tirx.Select(is_present, value, spread(tirx.const(0, WORD), self.words))
            if self.operand.side.is_shifted:
                value = with_signs(value, self.words)
            T.buffer_store(self.shared, value, [self.loops.span(word, self.words)])

    def _piece(self, i: Expr) -> tuple[Expr, Expr]:
        """Line and number of a thread's piece."""
        return self._part(i, self.words)


class Vectors(ThroughRegisters):
    """Neighbours in memory, which is one of words, are loaded at once.

    Always: where an element is not in memory, others are loaded, and replaced by zeros on the way to shared memory.
    Where branches that load or do not come together again, compilers wait for what was loaded.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        side, operand = self.operand.side, self.operand
        assert side.factor.access is not None
        is_partial = side.factor.access.inside is not None or not divides(operand.depth, side.deep)
        if is_partial and side.zero is None:
            self.present = T.alloc_buffer((self.pieces,), "int32", scope="local")

    @property
    def words(self) -> int:
        return self.operand.together * self.operand.side.bits // WORD_BITS

    def begin(self, step: Expr, stage: Expr) -> None:
        load = self._load_or_replace if self.operand.side.zero is None else self._load_or_fill
        with unrolled(self.pieces) as i:
            line, piece = self._piece(i)
            load(i, *self.operand.coordinates(step, line, piece * self.operand.together))

    def _load_or_replace(self, i: Expr, line: Expr, k: Expr) -> None:
        """A piece, or some other one, to be replaced."""
        operand, access = self.operand, self.operand.side.factor.access
        assert access is not None
        line = operand.bounded(line, operand.together if operand.transposed else 1)
        present, first = operand.is_element(access, line, k), operand.position(access, line, k)
        if self.present is not None and present is not None:
            T.buffer_store(self.present, condition(present).astype("int32"), [i])
        self._load(i, _guarded(present, first, self.loops))

    def _load(self, i: Expr, first: Expr) -> None:
        """A piece, from an element of the factor's on."""
        per_word = self.operand.together // self.words
        position = T.Bind(tirx.floordiv(first, self.loops.const(per_word)))
        loaded = self.memory[self.loops.span(position, self.words)]
        T.buffer_store(self.registers, loaded, [Loops().span(i * self.words, self.words)])

    def _load_or_fill(self, i: Expr, line: Expr, k: Expr) -> None:
        """A piece, or zero points."""
        access = self.operand.side.factor.access
        assert access is not None
        inside = self.operand.is_inside(access, line, k)
        if inside is not None:
            fill = spread(self.operand.fill(Elements(self.leaves), line), self.words)
            T.buffer_store(self.registers, fill, [Loops().span(i * self.words, self.words)])
        with when(inside):
            self._load(i, self.operand.position(access, line, k))


class Converted(ThroughRegisters):
    """Neighbours in memory are loaded at once, and rounded or widened to what is multiplied.

    A thread has as many as it loads at once, no whole chunk: so what a warp loads lies side by side.
    """

    @property
    def words(self) -> int:
        return self.operand.side.converted * self.operand.side.bits // WORD_BITS

    def begin(self, step: Expr, stage: Expr) -> None:
        side, operand, width = self.operand.side, self.operand, self.operand.side.converted
        access, own = side.factor.access, Loops().span(0, width)
        assert access is not None
        loaded = T.alloc_buffer((width,), self.memory.dtype, scope="local")
        with unrolled(self.pieces) as i:
            line, piece = self._piece(i)
            number, k = operand.coordinates(step, line, piece * width)
            inside = operand.is_inside(access, number, k)
            if inside is not None:
                zero = tirx.const(0, str(self.memory.dtype))
                T.buffer_store(loaded, spread(zero, width), [own])
            with when(inside):
                position = T.Bind(operand.position(access, number, k))
                T.buffer_store(loaded, self.memory[self.loops.span(position, width)], [own])
            values = [self._element(number, k, loaded, part) for part in range(width)]
            per_word = width // self.words
            for word in range(self.words):
                value = packed(values[word * per_word : (word + 1) * per_word])
                T.buffer_store(self.registers, value, [i * self.words + word])

    def _element(self, number: Expr, k: Expr, loaded: tirx.Buffer, part: int) -> Expr:
        """What is multiplied, of an element that is loaded; what is not in memory is 0 in either type."""
        operand, access = self.operand, self.operand.side.factor.access
        assert access is not None
        leaves = {**self.leaves, access.memory: lambda _: loaded[part]}
        return operand.side.element_at(Elements(leaves), operand.indices(number, k + part))


class SingleElements(ThroughRegisters):
    """Elements are loaded, or computed, one by one: those of a word by one thread.

    Where neighbours in memory are from line to line, neighbouring threads have neighbouring lines, and chunks of them.
    """

    @property
    def words(self) -> int:
        return CHUNK_WORDS if self.operand.side.lines_are_neighbours else 1

    def begin(self, step: Expr, stage: Expr) -> None:
        side = self.operand.side
        per_word = WORD_BITS // side.bits
        with unrolled(self.pieces) as i:
            line, piece = self._piece(i)
            with unrolled(self.words) as word:
                first = (piece * self.words + word) * per_word
                values = [self._element(step, line, first + part) for part in range(per_word)]
                T.buffer_store(self.registers, packed(values), [i * self.words + word])

    def _element(self, step: Expr, line: Expr, element: Expr) -> Expr:
        """One element; 0 beyond the depth. (What is beyond the last line is never stored.)"""
        operand, side, loops = self.operand, self.operand.side, self.loops
        number, k = operand.coordinates(step, line, element)
        number = operand.bounded(number)
        if divides(operand.depth, side.deep):
            return side.element_at(Elements(self.leaves), operand.indices(number, k))
        depth = loops.const(side.deep)
        value = side.element_at(Elements(self.leaves), operand.indices(number, T.Bind(tirx.min(k, depth - 1))))
        return tirx.Select(condition(k < depth), value, tirx.const(0, str(value.expr_ty())))


@dataclass(eq=False)
class ExchangedPairs(SingleElements):
    """Elements of 16 bits, loaded one by one where neighbours in memory are in depth: those of a word by two threads,
    which are neighbours. Each has the lower or the upper one of two words, and one word once they have exchanged what
    they have of the other's. How many neighbours in depth are loaded together is counted, as for `gpu.contraction`."""

    machine: Gpu = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        operand, machine = self.operand, self.machine
        factor, lines = operand.side.factor, operand.corner.lines
        widths = [width for width in SEGMENTS if PAIR <= width <= operand.depth and operand.depth % width == 0]
        self.words_together = min(widths, key=lambda n: fetched(factor, Loading(True, 1, n), lines, machine)) // PAIR
        self.pair, self.which = self.loops.split(self.thread, PAIR)

    def begin(self, step: Expr, stage: Expr) -> None:
        is_upper, mask = tirx.NE(self.which, self.loops.const(0)), tirx.const(ALL_LANES, "uint32")
        words = T.alloc_buffer((PAIR,), WORD, scope="local")
        with unrolled(self.pieces) as i:
            own = [self._element(step, line, piece * PAIR + self.which) for line, piece in self._both(i)]
            T.buffer_store(words, packed(own), [0])
            T.buffer_store(words, T.tvm_warp_shuffle_xor(mask, words[0], 1, self.machine.warp, self.machine.warp), [1])
            lower, upper = joined(words[0], words[1], 0), joined(words[1], words[0], 1)
            T.buffer_store(self.registers, tirx.Select(is_upper, upper, lower), [i])

    def _segment(self, words: int) -> int:
        return self.words_together

    def _both(self, i: Expr) -> list[tuple[Expr, Expr]]:
        """Line and number of both words of which a thread loads an element."""
        half = self.threads // PAIR
        return [self._at(i * self.threads + turn * half + self.pair, 1) for turn in range(PAIR)]

    def _piece(self, i: Expr) -> tuple[Expr, Expr]:
        half = self.threads // PAIR
        return self._at(i * self.threads + self.which * half + self.pair, 1)


class SingleBytes(SingleElements):
    """The same of bytes; what is not in memory are zero points."""

    def _element(self, step: Expr, line: Expr, element: Expr) -> Expr:
        operand, access = self.operand, self.operand.side.factor.access
        assert access is not None  # see `zero_points.of_bytes`
        number, k = operand.coordinates(step, line, element)
        inside = operand.is_inside(access, number, k)
        if inside is None:
            return self.memory[T.Bind(operand.position(access, number, k))]
        found = T.alloc_buffer((1,), self.memory.dtype, scope="local")
        with T.If(inside):
            with T.Then():
                T.buffer_store(found, self.memory[T.Bind(operand.position(access, number, k))], [0])
            with T.Else():
                zero = operand.zero(Elements(self.leaves), number)
                T.buffer_store(found, zero.astype(str(self.memory.dtype)), [0])
        return found[0]


def transport(
    operand: Operand,
    shared: tirx.Buffer,
    thread: Expr,
    threads: int,
    buffers: Mapping[te.Tensor, tirx.Buffer],
    leaves: Mapping[te.Tensor, Leaf],
    machine: Gpu,
) -> Transport:
    """The best way there is for an operand."""
    access, side = operand.side.factor.access, operand.side
    buffer = None if access is None else next(b for tensor, b in buffers.items() if tensor.same_as(access.memory))
    given = operand, shared, thread, threads, leaves
    if buffer is None:
        return SingleElements(*given)
    if operand.together * side.bits < WORD_BITS or side.is_converted:
        if side.element in BYTES:
            return SingleBytes(*given, flat(buffer))
        if side.converted * side.bits >= WORD_BITS:
            return Converted(*given, flat(buffer))
        if side.bits * PAIR == WORD_BITS and not side.lines_are_neighbours and side.depth_is_side_by_side:
            return ExchangedPairs(*given, flat(buffer), machine=machine)
        return SingleElements(*given)
    if machine.copies_to_shared and not side.is_shifted:
        return AsynchronousCopies(*given, flat(buffer))
    return Vectors(*given, as_words(buffer, side.bits))


def as_words(buffer: tirx.Buffer, bits: int, word: str = WORD) -> tirx.Buffer:
    """Memory whose elements have so many bits, as one long array of words, in that type."""
    words = ceildiv(product(dims(buffer.shape)) * bits, WORD_BITS)
    return T.decl_buffer((words,), word, data=buffer.data)


def _guarded(inside: Expr | None, position: Expr, loops: Loops) -> Expr:
    """A position that is in memory whatever holds."""
    return position if inside is None else tirx.Select(condition(inside), position, loops.const(0))


def _bytes(count: int) -> Expr:
    return tirx.const(count, "uint32")
