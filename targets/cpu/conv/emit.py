"""Writing loop nests as TIR, where the schedule primitives stand in the way.

The convolutions here want three things that schedules of tensor expressions do not give: tiles that overlap at
the ragged end of a row instead of predicates, scratch rows whose padding is filled once per task, and accumulators
that are certainly registers. So the nests are written down as they should run; each helper is one TIR node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tvm import sym, tirx
from tvm.ir import Range

Dim: TypeAlias = "int | tirx.Expr"
"""A size or an index: a Python int where it is known."""

Stmt: TypeAlias = tirx.Stmt


def index(value: Dim) -> tirx.Expr:
    """`value` as an expression. Known sizes are int32, as the axes that TE makes of them; symbolic ones int64."""
    return tirx.IntImm("int32", value) if isinstance(value, int) else value


def seq(*parts: Stmt | None) -> Stmt:
    """The statements one after the other; those that are None are left out."""
    kept = [part for part in parts if part is not None]
    return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)


def loop(
    extent: Dim, body: Callable[[tirx.Expr], Stmt], name: str = "i", kind: tirx.ForKind = tirx.ForKind.SERIAL
) -> Stmt:
    """``for name in range(extent): body(name)``; without the loop when it would run exactly once."""
    if isinstance(extent, int) and extent == 1:
        return body(index(0))
    limit = index(extent)
    var = tirx.Var(name, str(limit.expr_ty()))
    return tirx.For(var, tirx.const(0, str(limit.expr_ty())), limit, kind, body(var))


def parallel(extent: Dim, body: Callable[[tirx.Expr], Stmt]) -> Stmt:
    """The loop over tasks, which the threads share; serial when there is but one task."""
    return loop(extent, body, "task", tirx.ForKind.PARALLEL)


def bind(name: str, value: Dim, body: Callable[[tirx.Expr], Stmt]) -> Stmt:
    """``name = value; body(name)``: computed once, where the inner loop would compute it again."""
    if isinstance(value, int):
        return body(index(value))
    var = tirx.Var(name, str(value.expr_ty()))
    return seq(tirx.Bind(var, value), body(var))


def when(condition: tirx.Expr | bool, then: Stmt, otherwise: Stmt | None = None) -> Stmt | None:
    """``if condition: then else: otherwise``, decided here where the condition is a Python bool."""
    if isinstance(condition, bool):
        return then if condition else otherwise
    return tirx.IfThenElse(condition, then, otherwise)


def in_tiles(extent: Dim, width: int, tasks: Callable[[int], Stmt]) -> Stmt:
    """``tasks(width)`` where `extent` holds a tile of that width, ``tasks(1)`` elsewhere.

    Sizes that are not known are taken to be positive: of nothing, either does nothing. Where that says that a tile
    fits, the other is left out: TVM would find there that it divides by sizes that are 0.
    """
    if isinstance(extent, int):
        return tasks(width)
    fits = extent >= width
    analyzer = sym.Analyzer()
    for size in tirx.analysis.undefined_vars(fits):
        analyzer.bind(size, Range(1, tirx.max_value(str(size.ty))))
    return tasks(width) if analyzer.can_prove(fits) else tirx.IfThenElse(fits, tasks(width), tasks(1))


def ceildiv(value: Dim, divisor: int) -> Dim:
    """``ceil(value / divisor)``."""
    if isinstance(value, int):
        return -(-value // divisor)
    return value if divisor == 1 else tirx.floordiv(value + (divisor - 1), divisor)


def least(left: Dim, right: Dim) -> Dim:
    """The smaller of two sizes."""
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    return tirx.min(left, right)


def divides(part: int, whole: Dim) -> bool:
    """Whether `whole` is known to be a multiple of `part`."""
    return isinstance(whole, int) and whole % part == 0


def unravel(position: tirx.Expr, shape: tuple[Dim, ...]) -> tuple[tirx.Expr, ...]:
    """Row-major coordinates of the `position`-th element of `shape`."""
    coordinates: list[tirx.Expr] = []
    for size in reversed(shape[1:]):
        if isinstance(size, int) and size == 1:
            coordinates.append(index(0))
            continue
        # See `Frames.split` on why sizes that are not known divide in another way.
        divide, rest = (tirx.floordiv, tirx.floormod) if isinstance(size, int) else (tirx.truncdiv, tirx.truncmod)
        coordinates.append(rest(position, size))
        position = divide(position, size)
    return (position, *reversed(coordinates))


def coordinates(position: tirx.Expr, shape: tuple[Dim, ...], body: Callable[..., Stmt]) -> Stmt:
    """``body(*unravel(position, shape))`` with the coordinates in variables."""
    bound: list[Stmt] = []
    places: list[tirx.Expr] = []
    for place in unravel(position, shape):
        if isinstance(place, tirx.IntImm | tirx.Var):
            places.append(place)
        else:
            places.append(tirx.Var("at", place.ty))
            bound.append(tirx.Bind(places[-1], place))
    return seq(*bound, body(*places))


def product(*sizes: Dim) -> Dim:
    """The product of sizes."""
    known = 1
    unknown: tirx.Expr | None = None
    for size in sizes:
        if isinstance(size, int):
            known *= size
        else:
            unknown = size if unknown is None else unknown * size
    if unknown is None:
        return known
    return unknown if known == 1 else unknown * known


class Vectors:
    """An array of `count` vectors of `lanes` floats that only ever is indexed by constants: registers."""

    def __init__(self, name: str, count: int, lanes: int) -> None:
        self.count, self.lanes = count, lanes
        self.buffer = tirx.decl_buffer((count * lanes,), "float32", name, scope="local")

    def allocate(self) -> Stmt:
        """The statement that declares it."""
        return tirx.AllocBuffer(self.buffer)

    def _at(self, position: int) -> list[tirx.Expr]:
        return [span(position * self.lanes, self.lanes)]

    def __getitem__(self, position: int) -> tirx.Expr:
        return tirx.BufferLoad(self.buffer, self._at(position))

    def store(self, position: int, value: tirx.Expr) -> Stmt:
        """Set one vector."""
        return tirx.BufferStore(self.buffer, value, self._at(position))

    def reader(self, offset: int) -> Callable[[tirx.Expr], tirx.Expr]:
        """Gives the element `offset` after its argument."""
        return lambda element: tirx.BufferLoad(self.buffer, [offset + element])

    def clear(self) -> Stmt:
        """Set all to zero."""
        return seq(*[self.store(position, zeros(self.lanes)) for position in range(self.count)])


def span(start: Dim, lanes: int) -> tirx.Expr:
    """The indices ``start .. start + lanes - 1`` as one vector; a scalar index when there is one lane."""
    first = index(start)
    return first if lanes == 1 else tirx.Ramp(first, tirx.const(1, str(first.expr_ty())), lanes)


def broadcast(value: tirx.Expr, lanes: int) -> tirx.Expr:
    """`value` in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def zeros(lanes: int) -> tirx.Expr:
    """A vector of zeros."""
    return broadcast(tirx.FloatImm("float32", 0.0), lanes)


def prefetch(buffer: tirx.Buffer, at: list[tirx.Expr]) -> Stmt:
    """Ask for the cache line of an element that is read soon; nothing happens where there is none."""
    element = tirx.address_of(tirx.BufferLoad(buffer, at))
    read, near, data = (tirx.const(value, "int32") for value in (0, 2, 1))
    return tirx.Evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", element, read, near, data))
