"""Which loops are unrolled, and how far.

Those over registers must be, or arrays are memory. Kernels ask for more: of a loop over the depth of a tile nvcc makes
what fits the registers. LLVM, given hundreds of multiply-adds in a row, moves them behind the next barrier, and keeps
all that they multiply in registers which are not there. So such loops are unrolled by a few steps only.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm_ffi.structural import StructuralMutator

from dsc.targets.rocm.bitcode import STEP

REGISTERS = "local"
STEPS = 8
"""At once: what they load is under way together, and needs a few dozen registers."""


def by_a_few_steps(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with loops of a few unrolled steps for long ones that were to be unrolled and choose no register."""
    chosen = _choosing(func)

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.Stmt:
        inner = mutator.default_mutate(node)
        if node.kind == tirx.ForKind.SERIAL and _meets(node.body):
            return _kept(inner)
        long = isinstance(node.extent, tirx.IntImm) and node.extent.value >= STEPS
        if node.kind != tirx.ForKind.UNROLLED or node.loop_var in chosen or not long:
            return inner
        return _in_parts(inner)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.For, loop)]))


def _meets(body: tirx.Stmt) -> bool:
    """Whether threads wait for each other somewhere in a statement."""
    found: list[Call] = []

    def note(node: Call) -> None:
        if str(getattr(node.op, "name", "")) == "tirx.tvm_storage_sync":
            found.append(node)

    tvm_ffi.structural_walk(body, (Call, note))
    return bool(found)


def _kept(loop: tirx.For) -> tirx.For:
    """A loop that LLVM does not unroll: what steps load before a barrier it would all keep in registers."""
    body = tirx.SeqStmt([tirx.Evaluate(tirx.call_extern("void", STEP)), loop.body])
    return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body)


def _in_parts(loop: tirx.For) -> tirx.For:
    """A loop over parts that LLVM leaves as it is, of one over steps that is unrolled."""
    extent, var = loop.extent.value, loop.loop_var
    steps = next(count for count in range(STEPS, 0, -1) if extent % count == 0)
    dtype = str(var.ty)
    zero, width = tirx.const(0, dtype), tirx.const(steps, dtype)
    part, step = tirx.Var(f"{var.name}_part", dtype), tirx.Var(f"{var.name}_step", dtype)
    place = loop.min + part * width + step
    body = tvm_ffi.structural_map(loop.body, (tirx.Var, lambda v: place if v.same_as(var) else v))
    unrolled = tirx.For(step, zero, width, tirx.ForKind.UNROLLED, body)
    kept = tirx.SeqStmt([tirx.Evaluate(tirx.call_extern("void", STEP)), unrolled])
    return tirx.For(part, zero, tirx.const(extent // steps, dtype), tirx.ForKind.SERIAL, kept)


def _choosing(func: tirx.PrimFunc) -> set[tirx.Var]:
    """Variables of which the index of a register is computed."""
    found: set[tirx.Var] = set()
    bound: dict[tirx.Var, Expr] = {}

    def note(buffer: tirx.Buffer, indices: list[Expr]) -> None:
        if buffer.scope() == REGISTERS:
            found.update(*map(_variables, indices))

    tvm_ffi.structural_walk(
        func.body,
        [
            (TensorLoad, lambda node: note(node.source, node.indices)),
            (tirx.BufferStore, lambda node: note(node.buffer, node.indices)),
            (tirx.Bind, lambda node: bound.__setitem__(node.var, node.value)),
        ],
    )
    left = list(found)
    while left:
        value = bound.get(left.pop())
        new = set() if value is None else _variables(value) - found
        found |= new
        left += new
    return found


def _variables(value: Expr) -> set[tirx.Var]:
    found: set[tirx.Var] = set()
    tvm_ffi.structural_walk(value, (tirx.Var, found.add))
    return found
