"""What follows the convolution inside its region, computed for each vector of its result on the way to memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import sym, te, tirx
from tvm.ir import Expr, Range
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.inline import Inliner, Kept, Leaf, kept_types
from dsc.targets.tir.loops import Loops


@dataclass(frozen=True)
class Output:
    """One result of the region: NCHW, or NCHW[c] where it has five axes."""

    tensor: te.Tensor
    buffer: tirx.Buffer

    @property
    def block(self) -> int:
        """Channels that lie next to each other; 1 when plain."""
        return int(self.tensor.shape[4]) if len(self.tensor.shape) == 5 else 1

    def place(self, n: Expr, c: Expr, inner: Expr, h: Expr, w: Expr) -> tuple[Expr, ...]:
        """Where channel ``c + inner`` is stored; `c` is a multiple of the vector that `inner` walks."""
        if self.block == 1:
            return n, c + inner, h, w
        block, lane = tirx.floordiv(c, self.block), tirx.floormod(c, self.block)
        return n, block, h, w, lane + inner


@dataclass(frozen=True)
class Epilogue:
    """The ops after the convolution, as tensor expressions of its result."""

    anchor: te.Tensor
    """The convolution itself, [N, OC, OH, OW], of which its bias is the first stage that follows."""
    outputs: tuple[Output, ...]
    inputs: Mapping[te.Tensor, tirx.Buffer]

    @property
    def block(self) -> int:
        """The smallest block of the outputs: what a store may write at once."""
        return min(output.block for output in self.outputs)

    def leaves(self, anchor: Leaf, analyzer: sym.Analyzer) -> dict[te.Tensor, Leaf]:
        """What the outputs are computed from; indices of inputs are simplified by `analyzer`."""

        def reader(buffer: tirx.Buffer) -> Leaf:
            return lambda at: tirx.BufferLoad(buffer, [analyzer.simplify(i) for i in at])

        return {self.anchor: anchor, **{tensor: reader(buffer) for tensor, buffer in self.inputs.items()}}

    def problems(self) -> str | None:
        """Why the outputs cannot be computed element by element from the anchor's elements, or None."""
        return self._probed[1]

    @property
    def keeps(self) -> tuple[tuple[str, ...], ...]:
        """For each output, types of the intermediate values that are computed once and kept."""
        return self._probed[0]

    @cached_property
    def _probed(self) -> tuple[tuple[tuple[str, ...], ...], str | None]:
        sizes = list(zip("ncihw", (self.anchor.shape[axis] for axis in (0, 1, 1, 2, 3)), strict=True))
        n, block, i, h, w = (tirx.Var(name, str(Loops().const(size).ty)) for name, size in sizes)
        types: list[tuple[str, ...]] = []
        for output in self.outputs:
            analyzer = sym.Analyzer()
            channels = self.anchor.shape[1]
            extents = {block: tirx.floordiv(channels, output.block), i: output.block}
            for var, (_, size) in zip((n, block, i, h, w), sizes, strict=True):
                # An axis of size 1 is indexed by 0, that of one block too.
                analyzer.bind(var, Range(0, extents.get(var, size)))
            c = block * output.block
            expected = (n, c + i, h, w)
            moved: list[Sequence[Expr]] = []

            def anchor(
                at: Sequence[Expr],
                analyzer: sym.Analyzer = analyzer,
                expected: tuple[Expr, ...] = expected,
                moved: list[Sequence[Expr]] = moved,
            ) -> Expr:
                if not all(analyzer.can_prove_equal(a, b) for a, b in zip(at, expected, strict=True)):
                    moved.append(at)
                return tirx.Var("anchor", str(self.anchor.dtype))

            place = output.place(n, c, i, h, w)
            kept, problems = kept_types([output.tensor], place, self.leaves(anchor, analyzer))
            if problems or moved:
                return (), problems[0] if problems else "an op after the convolution moves elements"
            types.append(kept)
        return tuple(types), None


class Writer:
    """Writes the outputs of one register tile, vector by vector."""

    def __init__(self, epilogue: Epilogue, lanes: int) -> None:
        """Allocates what it needs in the current frame.

        `lanes` channels are stored together: they divide `Epilogue.block`, or are 1.
        """
        self.epilogue, self.lanes = epilogue, lanes
        self.kept = [Kept(types, lanes) for types in epilogue.keeps]

    def store(self, n: Expr, c: Expr, h: Expr, w: Expr, value: Callable[[Expr], Expr]) -> None:
        """Write channels ``c .. c + lanes - 1`` of every output at one pixel.

        `value` gives the bare convolution of channel ``c + i``; `c` is a multiple of the lanes.
        """
        for output, types, kept in zip(self.epilogue.outputs, self.epilogue.keeps, self.kept, strict=True):
            with Loops().each(self.lanes, T.vectorized) as lane:
                analyzer = sym.Analyzer()
                if self.lanes > 1:
                    analyzer.bind(lane, Range(0, self.lanes))

                def anchor(_: Sequence[Expr], lane: Expr = lane) -> Expr:
                    return value(lane)

                place = [analyzer.simplify(i) for i in output.place(n, c, lane, h, w)]
                inliner = Inliner(self.epilogue.leaves(anchor, analyzer), kept.keep(lane) if types else None)
                T.buffer_store(output.buffer, inliner.at(output.tensor, place), place)
