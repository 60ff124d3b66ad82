"""A mask in short, written once ahead of all tasks: what blocks of keys can be skipped at most.

For each block of queries it has, of the scores that products of 0 would have, the highest of each block of keys, and
the lowest of the highest of each query. Heads share it where they share the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, product
from dsc.lower.floats import f32
from dsc.targets.cpu.attention.elements import Elements
from dsc.targets.cpu.attention.keys import Blocks
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.inline import Inliner
from dsc.targets.tir.loops import Kind, Loops, pieces, spread, when

ROUNDING = 1e-5
"""Of a result, relative to it: more than a hundred roundings to float32."""
MARGIN = 106.0
"""How far below the largest score of a query a score has no weight: the exponential of -104 is less than half of the
least float32 that is not 0. The rest is for roundings of what is added to it."""
MOST, LEAST = tirx.max_value("float32"), tirx.min_value("float32")


class Summary:
    """Of each mask: of all elements of the batch, or blocks of queries, that have one of their own."""

    def __init__(
        self, masking: Masking, elements: Elements, loops: Loops, near: Blocks, tiles: Dim, lanes: int
    ) -> None:
        """Allocates it in the current frame.

        near: the blocks of keys; tiles: how many blocks of queries there are.
        """
        self._masking, self._elements, self._loops, self._near = masking, elements, loops, near
        self._lanes, self._size, self._rows = lanes, near.size, near.rows if masking.by_query else 1
        self._problem = elements.problem
        self.tiles = tiles if masking.by_query else 1
        """Masks of an element of the batch."""
        batch = zip(self._problem.batch, masking.axes, strict=False)
        self._shape = [*(extent if varies else 1 for extent, varies in batch), self.tiles]
        self.masks = product(self._shape)
        self.blocks = near.count
        """Blocks of keys."""
        self._highest = T.alloc_buffer((self.masks * self.blocks,), "float32")
        self._lowest = T.alloc_buffer((self.masks,), "float32")

    def first(self, batch: Sequence[Expr]) -> Expr:
        """The first mask of an element of the batch."""
        position = self._loops.const(0)
        for index, extent, varies in zip(batch, self._shape, self._masking.axes, strict=False):
            position = position * extent + (index if varies else 0)
        return position * self.tiles

    def removed(self, mask: Expr, block: Expr, reach: Expr) -> Expr:
        """Whether no key of a block has a weight, for any query of the mask, though products move scores by `reach`.

        False where `reach` is no number.
        """
        return self._highest[mask * self.blocks + block] + reach < self._lowest[mask]

    def removes(self, first: Expr, masks: Dim) -> Expr:
        """Whether so many masks remove any block, if products do not move scores."""
        found = T.alloc_buffer((1,), "int32")
        T.buffer_store(found, tirx.const(0, "int32"), [0])
        with self._loops.each(masks) as mask:
            _, tile = self._loops.split(mask, self.tiles)
            with self._near.each(tile) as block, when(self.removed(first + mask, block, f32(MARGIN))):
                T.buffer_store(found, tirx.const(1, "int32"), [0])
        return tirx.NE(found[0], tirx.const(0, "int32"))

    def write(self, kind: Kind) -> None:
        """Reads all masks. kind: of the loop where queries have masks of their own; else there is little to read."""
        with self._loops.each(self.masks, kind if self._masking.by_query else T.serial) as mask:
            *batch, tile = self._loops.unravel(mask, self._shape)
            of_block = T.alloc_buffer((self._lanes,), "float32")
            of_query = T.alloc_buffer((self._rows, self._lanes), "float32")
            self._clear(of_block, [])
            with self._loops.each(self._rows) as row:
                self._clear(of_query, [row])
            for first, blocks, count in self._pieces(tile):
                with self._loops.each(blocks) as block:
                    with self._loops.each(self._rows) as row:
                        query = T.Bind(self._query(tile * self._rows + row))
                        self._read([*batch, query], (first + block) * self._size, count, of_block, of_query, row)
                    T.buffer_store(self._highest, self._across(of_block, []), [mask * self.blocks + first + block])
                    self._clear(of_block, [])
            T.buffer_store(self._lowest, MOST, [mask])
            with self._loops.each(self._rows) as row:
                T.buffer_store(self._lowest, tirx.min(self._lowest[mask], self._across(of_query, [row])), [mask])

    def _pieces(self, tile: Expr) -> list[tuple[Expr, Dim, int]]:
        """The first block, number of blocks, and keys in each, of the blocks near some queries: the last of all may
        have fewer, if that is known."""
        zero, keys = self._loops.const(0), self._problem.keys
        if not isinstance(keys, int) or keys % self._size == 0:
            found: list[tuple[Expr, Dim, int]] = [(zero, self.blocks, self._size)]
        else:
            full = keys // self._size
            found = [(zero, full, self._size), (self._loops.const(full), 1, keys % self._size)]
        if self._near.window is None:
            return found
        begin, end = self._near.near(tile)
        return [(*self._within(begin, end, first, blocks), count) for first, blocks, count in found]

    def _within(self, begin: Expr, end: Expr, first: Expr, blocks: Dim) -> tuple[Expr, Expr]:
        """What blocks have in common with those from `begin` to before `end`: the first, and how many."""
        start = T.Bind(tirx.max(begin, first))
        return start, T.Bind(tirx.max(tirx.min(end, first + blocks) - start, self._loops.const(0)))

    def _query(self, query: Expr) -> Expr:
        return tirx.min(query, self._loops.const(self._problem.queries) - 1)

    def _read(
        self, at: Sequence[Expr], start: Expr, count: int, of_block: tirx.Buffer, of_query: tirx.Buffer, row: Expr
    ) -> None:
        """The keys of one block for one query."""
        kept = T.alloc_buffer((self._lanes,), "float32", scope="local")
        error = T.alloc_buffer((self._lanes,), "float32", scope="local")
        for offset, width in pieces(count, self._lanes):
            with self._loops.each(width, T.vectorized) as lane:
                score, off = self._score([*at, self._key(start + offset + lane)])
                T.buffer_store(kept, score, [lane])
                T.buffer_store(error, off, [lane])
                high, low = kept[lane] + error[lane], kept[lane] - error[lane]
                # what is no number is the most there may be, and the least that there is
                bounded = tirx.Select(high <= MOST, tirx.max(high, LEAST), MOST)
                T.buffer_store(of_block, tirx.max(of_block[lane], bounded), [lane])
                bounded = tirx.Select(low >= LEAST, tirx.min(low, MOST), LEAST)
                T.buffer_store(of_query, tirx.max(of_query[row, lane], bounded), [row, lane])

    def _key(self, key: Expr) -> Expr:
        keys = self._problem.keys
        return key if isinstance(keys, int) else tirx.min(key, keys - 1)

    def _score(self, at: Sequence[Expr]) -> tuple[Expr, Expr]:
        """The score of a product of 0, and a bound of what roundings add to or take from that of another."""
        leaves = {**self._elements.leaves(), self._problem.product: lambda _: tirx.const(0.0, "float32")}
        inliner = Inliner(leaves)
        sizes = [f32(ROUNDING * slope) * tirx.abs(inliner.at(stage, at)) for stage, slope in self._masking.stages]
        return inliner.at(self._problem.scores, at), tirx.min(reduce(tirx.Add, sizes, f32(0.0)), f32(1e38))

    def _clear(self, buffer: tirx.Buffer, at: Sequence[Expr]) -> None:
        T.buffer_store(buffer, spread(LEAST, self._lanes), [*at, self._loops.span(0, self._lanes)])

    def _across(self, buffer: tirx.Buffer, at: Sequence[Expr]) -> Expr:
        """The largest of a vector."""
        return reduce(tirx.max, (buffer[(*at, lane)] for lane in range(self._lanes)))
