"""Attention in fours of bytes: neighbours of the depth in the first product, of the keys in the second.

A four is an integer of 32 bits, which lies where one float32 does otherwise. Keys and weights are what is multiplied
by, queries and values are the vectors. Sums are exact in int32: of bytes as the instruction has them, less what their
zero points add,

    ``sum (a - za) (b - zb) = sum a b - zb sum a - za sum (b - zb)``

The depth is filled up with zeros, the keys with values that are the zero point, so that neither adds anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, dims, divides
from dsc.targets.cpu.attention.code import Block, Writer
from dsc.targets.cpu.attention.factors import by_reciprocals_of, four
from dsc.targets.cpu.attention.quantized import Quantized, QuantizedFactors
from dsc.targets.cpu.inline import Inliner, Kept
from dsc.targets.cpu.tile import RegisterTile, reinterpreted
from dsc.targets.cpu.turn import turned
from dsc.targets.tir.loops import pieces, spread, zeros

K = 4
SIGN = 128
"""What makes a signed byte an unsigned one, and back."""
ONES = 0x01010101
SQUARES = (16, 8, 4)
"""Sides of the squares of fours that are turned in registers."""


class InFours(Writer):
    """Where all factors are quantized."""

    element, together = "uint32", K

    bytes_of: QuantizedFactors
    unit: Expr
    """What a sum of the first product is multiplied by."""
    step: Expr
    """What a sum of the second product is multiplied by."""
    reciprocals: dict[tirx.Buffer, Expr]
    """Of the scales among the parameters."""
    begins: tirx.Buffer
    """For each query, what its sums begin with: what the zero point of the keys adds is taken off."""
    of_rows: tirx.Buffer
    """For each query, what the zero point of the values adds to its sums."""
    of_columns: tirx.Buffer
    """For each place in the width, what the zero point of the weights adds to its sums."""

    def task(self, block: Block) -> None:
        """With scales in variables."""
        assert self.problem.quantized is not None
        self.bytes_of = found = self.problem.quantized
        self.unit = T.Bind(self._number(found.q.scale) * self._number(found.k.scale))
        self.step = T.Bind(self._number(found.weights.scale) * self._number(found.v.scale))
        self.reciprocals = {}
        for tensor, buffer in self.buffers.items():
            if str(tensor.dtype) == "float32" and all(size == 1 for size in dims(tensor.shape)):
                made = T.alloc_buffer((1,), "float32", scope="local")
                T.buffer_store(made, tirx.const(1.0, "float32") / self._number(tensor), [0])
                self.reciprocals[buffer] = made[0]
        super().task(block)

    # the first product

    def transpose(self, block: Block, queries: tirx.Buffer) -> None:
        """Rows are copied, as many as a vector has lanes; then their fours are put below each other, in squares that
        are turned in registers, and one by one where the depth has no whole square."""
        lanes, steps = self.blocking.lanes, int(queries.shape[0])
        q, form = self.bytes_of.q, self._instruction(lanes).b
        side = next((side for side in SQUARES if side <= min(lanes, steps)), 1)
        rows = T.alloc_buffer((lanes, K * steps), "uint8")
        with self.loops.each(self.blocking.vectors) as vector:
            start = vector * lanes
            with self.loops.each(lanes) as row:
                s = T.Bind(self.query(block.first + start + row))
                self._copy(q, lambda d: self.of(q.values, block, [s, d]), rows, row, form)
            with self.loops.each(steps // side) as square, self.loops.each(lanes // side) as part:
                first = square * side
                at = [self._fours(rows, part * side + i, first, side) for i in range(side)]
                columns = turned([T.Bind(row) for row in at]) if side > 1 else at
                for i, column in enumerate(columns):
                    T.buffer_store(queries, column, [first + i, self.loops.span(start + part * side, side)])
            with self.loops.each(steps % side) as rest, self.loops.each(lanes) as row:
                step = steps // side * side + rest
                T.buffer_store(queries, self._fours(rows, row, step, 1), [step, start + row])
        self._sum_queries(queries)

    def _sum_queries(self, queries: tirx.Buffer) -> None:
        lanes = self.blocking.lanes
        tile = RegisterTile(self._instruction(lanes), 1, self.blocking.rows, lanes)
        tile.clear()
        with self.loops.each(queries.shape[0]) as step:
            for v, vector in enumerate(tile.vectors):
                tile.multiply_add(0, v, self._ones(lanes), queries[step, self.loops.span(*vector)])
        zero = self._zero(self.bytes_of.k, tile.instruction.a)
        expected = self.problem.depth * self._zero(self.bytes_of.q, tile.instruction.b)
        self.begins = T.alloc_buffer((self.blocking.rows,), "int32")
        for v, (start, _) in enumerate(tile.vectors):
            sums = spread(zero, lanes) * (spread(expected, lanes) - tile[0, v])
            T.buffer_store(self.begins, sums, [self.loops.span(start, lanes)])

    def begin(self, tile: RegisterTile, block: Block, keys: Sequence[Expr]) -> Callable[[int, Expr, Expr], Expr]:
        """Keys are copied, and summed for what the zero point of the queries adds."""
        k, row, span = self.bytes_of.k, tile.instruction, self.loops.span
        fours = ceildiv(ceildiv(self.problem.depth, K), row.n) * row.n
        bits = T.alloc_buffer((len(keys), K * fours), "uint8")
        zero = self._zero(self.bytes_of.q, row.b)
        for i, key in enumerate(keys):

            def element(d: Expr, key: Expr = key) -> Expr:
                return self.of(k.values, block, [d, key])

            self._copy(k, element, bits, i, row.a)
            sums = RegisterTile(row, 1, row.n)
            sums.clear()
            for start, lanes in pieces(fours, row.n):
                sums.multiply_add(0, 0, self._fours(bits, i, start, lanes), self._ones(lanes))
            total = tirx.call_llvm_pure_intrin("int32", "llvm.vector.reduce.add", sums[0, 0])
            added = T.Bind(zero * total)
            for v, (start, lanes) in enumerate(tile.vectors):
                tile.put(i, v, self.begins[span(start, lanes)] - spread(added, lanes))
        return lambda i, _, step: self._fours(bits, i, step, 1)

    def product(self, found: Expr) -> Expr:
        """Scaled."""
        return found.astype("float32") * self.unit

    def score(self, value: Expr) -> Expr:
        """Without divisions by scales and numbers: vectors of quotients take ten times as long as products."""
        return by_reciprocals_of(value, self.reciprocals)

    def _copy(
        self, factor: Quantized, element: Callable[[Expr], Expr], rows: tirx.Buffer, row: Expr | int, form: str
    ) -> None:
        """A row of the depth as bytes of type `form`, with zeros behind it."""
        depth, lanes = self.problem.depth, self.machine.lanes(8)
        sign = tirx.const(0 if str(factor.values.dtype) == form else SIGN, "uint8")
        for start, width in pieces(depth, lanes):
            with self.loops.each(width, T.vectorized) as lane:
                number = tirx.bitwise_xor(element(start + lane).astype("uint8"), sign)
                T.buffer_store(rows, number, [row, start + lane])
        for start, width in pieces(int(rows.shape[1]) - depth, lanes):
            T.buffer_store(rows, zeros(width, "uint8"), [row, self.loops.span(depth + start, width)])

    def _fours(self, rows: tirx.Buffer, row: Expr | int, step: Expr | int, count: int) -> Expr:
        """So many fours of a row of bytes."""
        taken = rows[row, self.loops.span(K * step, K * count)]
        return reinterpreted(taken, "uint32" if count == 1 else f"uint32x{count}")

    # the second product

    def weights(self, block: Block, scores: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """Four rows of bytes in one, and their sums for what the zero point of the values adds."""
        lanes, weights = self.blocking.lanes, self.bytes_of.weights
        made = T.alloc_buffer((self._steps, self.blocking.rows), self.element)
        tile = RegisterTile(self._instruction(lanes), 1, self.blocking.rows, lanes)
        kept = Kept(self.problem.kept[1], lanes)
        numbers = T.alloc_buffer((K, lanes), str(weights.values.dtype), scope="local")
        tile.clear()
        with self.present.each(K) as step:
            keys = [T.Bind(self._key(step, i)) for i in range(K)]
            for v, (start, _) in enumerate(tile.vectors):
                for i, key in enumerate(keys):
                    with self.lanes() as lane:
                        column = start + lane
                        at = [*block.at, self.query(block.first + column), key]
                        T.buffer_store(scores, scores[key, column] * scale[column], [key, column])
                        T.buffer_store(numbers, self._weight(kept, lane, at, scores[key, column]), [i, lane])
                with self.lanes() as lane:
                    fours = four([numbers[i, lane] for i in range(K)])
                    T.buffer_store(made, self._formed(fours, weights, tile.instruction.a), [step, start + lane])
                tile.multiply_add(0, v, made[step, self.loops.span(start, lanes)], self._ones(lanes))
        zero = self._zero(self.bytes_of.v, tile.instruction.b)
        self.of_rows = T.alloc_buffer((self.blocking.rows,), "int32")
        for v, (start, _) in enumerate(tile.vectors):
            T.buffer_store(self.of_rows, spread(zero, lanes) * tile[0, v], [self.loops.span(start, lanes)])
        return made

    def _weight(self, kept: Kept, lane: Expr, at: list[Expr], probability: Expr) -> Expr:
        """A weight as it is quantized."""
        leaves = {**self.elements.leaves(), self.problem.probabilities: lambda _: probability}
        keep = kept.keep(lane)
        inliner = Inliner(leaves, (lambda value: keep(self.score(value))) if self.problem.kept[1] else None)
        return self.score(inliner.at(self.bytes_of.weights.values, at))

    def values(self, block: Block) -> Callable[[Expr, Expr], Expr]:
        """Four rows of bytes in one, for all tiles of the block, and what the zero point of the weights adds."""
        lanes, width = self.machine.lanes(), self.problem.width
        padded = ceildiv(width, lanes) * lanes
        made = T.alloc_buffer((self._steps, padded), self.element)
        self.of_columns = T.alloc_buffer((padded,), "int32")
        with self.loops.each(width // lanes) as piece:
            self._four_rows(block, piece * lanes, lanes, made)
        if width % lanes:
            self._four_rows(block, self.loops.const(width // lanes * lanes), width % lanes, made)
        return lambda step, e: made[step, e]

    def _four_rows(self, block: Block, start: Expr, width: int, made: tirx.Buffer) -> None:
        """One vector of all values, of which `width` lanes are filled."""
        lanes, v = self.machine.lanes(), self.bytes_of.v
        row = self._instruction(lanes)
        tile = RegisterTile(row, 1, lanes, lanes)
        tile.clear()
        filler = tirx.const(0, str(v.values.dtype)) if v.zero is None else self._number(v.zero)
        expected = T.Bind(K * self._zero(v, row.b))
        with self.present.each(K) as step:
            keys = [T.Bind(self._key(step, i)) for i in range(K)]
            for beyond, count in pieces(lanes - width, lanes):
                T.buffer_store(made, zeros(count, self.element), [step, self.loops.span(start + width + beyond, count)])
            with self.loops.each(width, T.vectorized) as lane:
                numbers = [self.of(v.values, block, [key, start + lane]) for key in keys]
                if not self._divided:
                    present = [K * step + i < self.loops.const(self.problem.keys) for i in range(K)]
                    numbers = [tirx.Select(*pair, filler) for pair in zip(present, numbers, strict=True)]
                T.buffer_store(made, self._formed(four(numbers), v, row.b), [step, start + lane])
            tile.put(0, 0, tile[0, 0] - spread(expected, lanes))
            tile.multiply_add(0, 0, self._ones(lanes), made[step, self.loops.span(start, lanes)])
        zero = self._zero(self.bytes_of.weights, row.a)
        T.buffer_store(self.of_columns, spread(zero, lanes) * tile[0, 0], [self.loops.span(start, lanes)])

    def weighed(self, row: Expr, scale: tirx.Buffer) -> Callable[[Expr, Expr], Expr]:
        """Less what zero points add, and scaled."""
        added = T.Bind(self.of_rows[row])
        return lambda found, e: (found - added - self.of_columns[e]).astype("float32") * self.step

    def stored(self, value: Expr) -> Expr:
        """Without divisions by scales."""
        return self.score(super().stored(value))

    # bytes

    @property
    def _divided(self) -> bool:
        """Whether there are whole fours of keys only."""
        return divides(K, self.problem.keys)

    def _key(self, step: Expr, i: int) -> Expr:
        """A key of a four: behind the last one it is the last one."""
        key = K * step + i
        return key if self._divided else tirx.min(key, self.loops.const(self.problem.keys) - 1)

    def _number(self, tensor: te.Tensor) -> Expr:
        """A tensor of one element."""
        return Inliner(self.elements.leaves()).at(tensor, [self.loops.const(0) for _ in tensor.shape])

    def _zero(self, factor: Quantized, form: str) -> Expr:
        """The zero point of a factor whose bytes are taken as those of type `form`."""
        found = tirx.const(0, "int32") if factor.zero is None else self._number(factor.zero).astype("int32")
        return found + {("int8", "uint8"): SIGN, ("uint8", "int8"): -SIGN}.get((str(factor.values.dtype), form), 0)

    def _formed(self, fours: Expr, factor: Quantized, form: str) -> Expr:
        """The bytes of fours of a factor as those of type `form`."""
        sign = 0 if str(factor.values.dtype) == form else SIGN * ONES
        return tirx.bitwise_xor(fours, tirx.const(sign, "uint32"))

    def _ones(self, lanes: int) -> Expr:
        """Fours of ones."""
        return spread(tirx.const(ONES, "uint32"), lanes)
