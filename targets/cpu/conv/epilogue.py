"""What follows the convolution inside its region, computed for each vector of its result on the way to memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import sym, te, tirx
from tvm.ir import Expr, Range

from dsc.targets.cpu.conv.emit import Dim, Stmt, index, seq
from dsc.targets.cpu.inline import Inliner, Leaf, kept_types


@dataclass(frozen=True)
class Output:
    """One result of the region: NCHW, or NCHW[c] where it has five axes."""

    tensor: te.Tensor
    buffer: tirx.Buffer

    @property
    def block(self) -> int:
        """Channels that lie next to each other; 1 when plain."""
        return int(self.tensor.shape[4]) if len(self.tensor.shape) == 5 else 1

    def place(self, n: Dim, c: Expr, inner: Expr, h: Dim, w: Dim) -> tuple[Expr, ...]:
        """Where channel ``c + inner`` is stored; `c` is a multiple of the vector that `inner` walks."""
        if self.block == 1:
            return index(n), c + inner, index(h), index(w)
        block, lane = tirx.floordiv(c, self.block), tirx.floormod(c, self.block)
        return index(n), block, index(h), index(w), lane + inner


@dataclass(frozen=True)
class Epilogue:
    """The ops after the convolution, as tensor expressions of its result."""

    anchor: te.Tensor
    """Stands for the convolution's result, [N, OC, OH, OW]."""
    outputs: tuple[Output, ...]
    inputs: Mapping[te.Tensor, tirx.Buffer]
    bias: tirx.Buffer | float | None

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
        n, block, i, h, w = (tirx.Var(name, str(index(size).ty)) for name, size in sizes)
        types: list[tuple[str, ...]] = []
        for output in self.outputs:
            analyzer = sym.Analyzer()
            for var, (_, size) in zip((n, block, i, h, w), sizes, strict=True):
                # An axis of size 1 is indexed by 0.
                analyzer.bind(var, Range(0, output.block if var is i else size))
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
                return tirx.Var("anchor", "float32")

            place = output.place(n, c, i, h, w)
            kept, problems = kept_types([output.tensor], place, self.leaves(anchor, analyzer))
            if problems or moved:
                return (), problems[0] if problems else "an op after the convolution moves elements"
            types.append(kept)
        return tuple(types), None


class Writer:
    """Writes the outputs of one register tile, vector by vector."""

    def __init__(self, epilogue: Epilogue, lanes: int) -> None:
        """`lanes` channels are stored together: they divide `Epilogue.block`, or are 1."""
        self.epilogue, self.lanes = epilogue, lanes
        # Buffers and no variables: TVM's simplifier looks through variables and would write out again, and
        # reorder, what they stand for.
        self.registers = [
            [tirx.decl_buffer((lanes,), dtype, "kept", scope="local") for dtype in types] for types in epilogue.keeps
        ]

    def allocate(self) -> list[Stmt]:
        """What stands before the first `store`."""
        return [tirx.AllocBuffer(buffer) for buffers in self.registers for buffer in buffers]

    def store(self, n: Dim, c: Expr, h: Dim, w: Dim, value: Callable[[Expr], Expr]) -> Stmt:
        """Write channels ``c .. c + lanes - 1`` of every output at one pixel.

        `value` gives the bare convolution of channel ``c + i``; `c` is a multiple of the lanes.
        """
        pairs = zip(self.epilogue.outputs, self.registers, strict=True)
        return seq(*[self._store(output, buffers, n, c, h, w, value) for output, buffers in pairs])

    def _store(
        self,
        output: Output,
        registers: Sequence[tirx.Buffer],
        n: Dim,
        c: Expr,
        h: Dim,
        w: Dim,
        value: Callable[[Expr], Expr],
    ) -> Stmt:
        lane = tirx.Var("c", "int32") if self.lanes > 1 else index(0)
        analyzer = sym.Analyzer()
        if self.lanes > 1:
            analyzer.bind(lane, Range(0, self.lanes))
        left = iter(registers)
        parts: list[Stmt] = []

        def keep(stage: Expr) -> Expr:
            buffer = next(left)
            parts.append(tirx.BufferStore(buffer, stage, [lane]))
            return tirx.BufferLoad(buffer, [lane])

        def anchor(_: Sequence[Expr]) -> Expr:
            return self._biased(value(lane), c + lane)

        place = [analyzer.simplify(i) for i in output.place(n, c, lane, h, w)]
        inliner = Inliner(self.epilogue.leaves(anchor, analyzer), keep if registers else None)
        parts.append(tirx.BufferStore(output.buffer, inliner.at(output.tensor, place), place))
        if self.lanes == 1:
            return seq(*parts)
        return tirx.For(lane, index(0), index(self.lanes), tirx.ForKind.VECTORIZED, seq(*parts))

    def _biased(self, value: Expr, channel: Expr) -> Expr:
        bias = self.epilogue.bias
        if bias is None:
            return value
        return value + (tirx.BufferLoad(bias, [channel]) if isinstance(bias, tirx.Buffer) else bias)
