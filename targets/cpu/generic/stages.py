"""What a block does, as far as scheduling it needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm.s_tir.schedule import SBlockRV
from tvm.s_tir.schedule.analysis import has_block
from tvm.sym import Analyzer

from dsc.lower import operators
from dsc.lower.exprs import static
from dsc.lower.nominal import volume
from dsc.targets.cpu.functions import by_element

Buffer: TypeAlias = tirx.Var
DIVISION_COST = 4
CALL_COST = {
    "sqrt": 4,
    "rsqrt": 6,
    "if_then_else": 2,
    "fabs": 1,
    "floor": 1,
    "ceil": 1,
    "round": 1,
    "nearest": 1,
    "reinterpret": 0,
    "constant": 0,
    **dict.fromkeys(("add", "sub", "mul", "min", "max", "eq", "ne", "lt", "le", "gt", "ge"), 1),
    **dict.fromkeys(("larger", "smaller"), 2),
    "div": DIVISION_COST,
    # what the expansions in `dsc.targets.cpu.functions` cost by this very table
    "exp": 21,
    "log": 33,
    "log1p": 44,
    "tanh": 24,
    "erf": 28,
}
"""Cost of a call in vector additions."""
OTHER_COST = 12
"""Of a call that is not listed."""
BY_ELEMENT_COST = 200
"""Of a call of C's library for each element: a sine takes as long alone as so many additions of vectors."""
BINARY = (
    *(tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max),
    *(tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.And, tirx.Or),
)
BinaryOp: TypeAlias = "tirx.Add | tirx.Div"
SPATIAL, REDUCE = 0, 2


@dataclass(frozen=True)
class Access:
    """A load or a store of one element."""

    buffer: Buffer
    indices: tuple[Expr, ...]


@dataclass
class Body:
    """What the statement of a block does in one iteration."""

    loads: list[Access] = field(default_factory=list)
    stores: list[Access] = field(default_factory=list)
    cost: int = 0
    """In vector additions; index arithmetic is not counted."""
    conditions: list[Expr] = field(default_factory=list)
    """Under which something is evaluated: where one differs between lanes, vectors are split into scalars."""
    by_element: bool = False
    """Whether something is called for each element: a statement on vectors is taken apart as a whole."""
    opaque: bool = False
    """Whether there is anything but loads, arithmetic and stores."""

    @staticmethod
    def of(stmt: tirx.Stmt) -> Body:
        """Reads the statement."""
        body = Body()

        def load(node: TensorLoad, _: object) -> None:
            body.loads.append(Access(node.source, tuple(node.indices)))

        def store(node: tirx.BufferStore, visitor: tvm_ffi.structural.StructuralVisitor) -> None:
            body.stores.append(Access(node.buffer, tuple(node.indices)))
            visitor.visit(node.value)

        def call(node: Call, visitor: tvm_ffi.structural.StructuralVisitor) -> None:
            name = getattr(node.op, "name", "").rpartition(".")[2]
            ours = operators.name_of(node)
            alone = ours is not None and by_element(ours, str(node.expr_ty()))
            body.by_element |= alone
            body.cost += BY_ELEMENT_COST if alone else CALL_COST.get(name, OTHER_COST)
            if name == "if_then_else":
                body.conditions.append(node.args[0])
            body.opaque |= not isinstance(node.op, tvm_ffi.Object) or name.startswith("call_")
            for argument in node.args:
                visitor.visit(argument)

        def arithmetic(node: BinaryOp, visitor: tvm_ffi.structural.StructuralVisitor) -> None:
            body.cost += DIVISION_COST if isinstance(node, tirx.Div) else 1
            visitor.visit(node.a)
            visitor.visit(node.b)

        def other(node: tirx.Stmt, visitor: tvm_ffi.structural.StructuralVisitor) -> None:
            body.opaque |= not isinstance(node, tirx.SeqStmt)
            visitor.default_visit(node)

        tvm_ffi.structural_visit(
            stmt,
            [
                (TensorLoad, load),
                (tirx.BufferStore, store),
                (Call, call),
                (BINARY, arithmetic),
                (tirx.Stmt, other),
            ],
        )
        return body


@dataclass(frozen=True)
class Stage:
    """One block. A regular one is as `te.create_prim_func` makes it: a perfect nest around one store, spatial loops
    first, then those of the reduction. Anything else is left as it is."""

    block: SBlockRV
    name: str
    spatial: tuple[tirx.IterVar, ...]
    reduce: tuple[tirx.IterVar, ...]
    body: Body
    regular: bool
    parameters: tuple[Buffer, ...]
    """Of the function: the other buffers are its own."""

    @staticmethod
    def of(sch: s_tir.Schedule, block: SBlockRV) -> Stage:
        """Reads the block."""
        node = sch.get(block)
        spatial = tuple(i for i in node.iter_vars if i.iter_type == SPATIAL)
        reduce = tuple(i for i in node.iter_vars if i.iter_type == REDUCE)
        body = Body.of(node.body)
        loops = [sch.get(loop) for loop in sch.get_loops(block)]
        regular = (
            not body.opaque
            and len(body.stores) == 1
            and tuple(node.iter_vars) == spatial + reduce
            and len(loops) == len(node.iter_vars)
            and all(loop.extent == i.dom.extent for loop, i in zip(loops, node.iter_vars, strict=True))
        )
        parameters = tuple(p for p in sch.mod["main"].params if tirx.is_buffer_var(p))
        return Stage(block, node.name_hint, spatial, reduce, body, regular, parameters)

    @property
    def buffer(self) -> Buffer:
        """What a regular stage writes."""
        return self.body.stores[0].buffer

    @property
    def inlinable(self) -> bool:
        """Whether it computes one value from its iterators, even if it has no loops at all, and in vectors."""
        return not (self.body.opaque or self.body.by_element or self.reduce) and len(self.body.stores) == 1

    @property
    def inlines(self) -> bool:
        """Whether others may be inlined into it and stay vectors."""
        return self.regular and not self.body.by_element

    @property
    def direct(self) -> bool:
        """Whether the spatial iterators are the indices of what is stored, in order."""
        indices = self.body.stores[0].indices
        return len(indices) == len(self.spatial) and all(map(is_at, indices, self.spatial))

    @property
    def iters(self) -> tuple[tirx.IterVar, ...]:
        """Block iterators in loop order."""
        return self.spatial + self.reduce

    @cached_property
    def loads(self) -> tuple[Access, ...]:
        """What is read of other stages and of the inputs."""
        return tuple(a for a in self.body.loads if not any(a.buffer.same_as(s.buffer) for s in self.body.stores))

    @cached_property
    def touches_private(self) -> bool:
        """Whether a buffer of the function's own is read or written."""
        buffers = [a.buffer for a in (*self.body.loads, *self.body.stores)]
        return not all(self.is_parameter(buffer) for buffer in buffers)

    def is_parameter(self, buffer: Buffer) -> bool:
        """Whether the buffer is one of the caller's."""
        return any(buffer.same_as(p) for p in self.parameters)

    @cached_property
    def iterations(self) -> int:
        """Nominal number of iterations."""
        return volume(i.dom.extent for i in self.iters)

    @cached_property
    def work(self) -> int:
        """Nominal element operations: arithmetic, loads and stores of all iterations."""
        return self.iterations * (self.body.cost + len(self.body.loads) + len(self.body.stores))

    def element_bits(self) -> int:
        """Bits of the widest element loaded or stored."""
        return max(element_bits(a.buffer) for a in (*self.body.loads, *self.body.stores))

    @cached_property
    def strides(self) -> tuple[tuple[Expr | int | None, ...], ...]:
        """For each iterator the distance in elements between successive accesses, the store's first, then the loads'.

        None where the distance varies.
        """
        analyzer = Analyzer()
        for i in self.iters:
            analyzer.bind(i.var, i.dom)
        flat = [flat_index(a, analyzer) for a in (*self.body.stores, *self.loads)]
        return tuple(tuple(self._stride(f, i.var) for f in flat) for i in self.iters)

    def _stride(self, flat: Expr | int, var: tirx.Var) -> Expr | int | None:
        if isinstance(flat, int):
            return 0
        successor = tvm_ffi.structural_map(flat, (tirx.Var, lambda v: v + 1 if v.same_as(var) else v))
        difference = Analyzer().simplify(successor - flat)
        if any(uses(difference, i.var) for i in self.iters):
            return None
        known = static(difference)
        return difference if known is None else known


def is_at(index: Expr, iterator: tirx.IterVar) -> bool:
    """Whether an index is just the iterator."""
    return index.same_as(iterator.var) or (static(iterator.dom.extent) == 1 and static(index) == 0)


def flat_index(access: Access, analyzer: Analyzer) -> Expr | int:
    """The offset of an access in its row-major buffer, simplified with what `analyzer` knows."""
    flat: Expr | int = 0
    for index, size in zip(access.indices, access.buffer.shape, strict=True):
        flat = flat * size + index
    return flat if isinstance(flat, int) else analyzer.simplify(flat)


def element_bits(buffer: Buffer) -> int:
    """Bits of one element in memory: a bool takes a byte."""
    return max(8, tvm_ffi.dtype(str(buffer.dtype)).bits)


def uses(expr: Expr, var: tirx.Var) -> bool:
    """Whether `var` occurs in `expr`."""
    found = False

    def visit(node: tirx.Var) -> None:
        nonlocal found
        found = found or node.same_as(var)

    tvm_ffi.structural_walk(expr, (tirx.Var, visit))
    return found


def stages(sch: s_tir.Schedule) -> list[Stage]:
    """The stages of the function in program order; none where all of it is one opaque block."""
    if not has_block(sch, "root"):
        return []
    return [Stage.of(sch, block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
