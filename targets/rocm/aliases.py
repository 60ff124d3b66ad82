"""One name for each piece of a block's or a thread's memory.

TVM's code generator takes a second name for what has one already (`DeclBuffer`, which reuse of memory leaves) to be of
memory that all blocks share, and casts its address to that: what is written there is lost, or somebody else's. Where
the second name is of another type of the same size, its elements are bits of the first.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm_ffi.structural import StructuralMutator

from dsc.errors import DscError


@tvm_ffi.register_error
class AliasError(DscError):
    """A kernel has its own memory under a name whose elements are of another size. (Registered, it passes through
    TVM's passes.)"""


def without_aliases(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """The name that memory was allocated under in place of all others. Raises `AliasError` where elements of another
    size have one."""
    names = _second_names(func)
    differing = [pair for pair in names.items() if _bits(pair[0]) != _bits(pair[1])]
    if differing:
        told = "; ".join(f"{name.name} of {name.dtype} is {first.name} of {first.dtype}" for name, first in differing)
        raise AliasError(f"memory of a block or a thread has elements of two sizes: {told}")

    def dropped(node: tirx.DeclBuffer, mutator: StructuralMutator) -> tirx.Stmt:
        return tirx.Evaluate(tirx.const(0, "int32")) if node.buffer in names else mutator.default_mutate(node)

    def renamed(var: tirx.Var, _: StructuralMutator) -> tirx.Var:
        return names.get(var, var)

    def loaded(node: TensorLoad, mutator: StructuralMutator) -> Expr:
        found = names.get(node.source, node.source)
        if found.dtype == node.source.dtype:
            return mutator.default_mutate(node)
        return tirx.reinterpret(str(node.ty), found[tuple(map(mutator.mutate, node.indices))])

    def stored(node: tirx.BufferStore, mutator: StructuralMutator) -> tirx.Stmt:
        found = names.get(node.buffer, node.buffer)
        if found.dtype == node.buffer.dtype:
            return mutator.default_mutate(node)
        value = mutator.mutate(node.value)
        dtype = tvm_ffi.dtype(str(found.dtype)).with_lanes(tvm_ffi.dtype(str(value.ty)).lanes)
        indices = [mutator.mutate(index) for index in node.indices]
        return tirx.BufferStore(found, tirx.reinterpret(str(dtype), value), indices)

    rules = [(tirx.DeclBuffer, dropped), (TensorLoad, loaded), (tirx.BufferStore, stored), (tirx.Var, renamed)]
    return func.with_body(tvm_ffi.structural_mutate(func.body, rules))


def _second_names(func: tirx.PrimFunc) -> dict[tirx.Var, tirx.Var]:
    """By each name of memory that has one already: the one under which it was allocated."""
    allocated: set[tirx.Var] = set()
    names: dict[tirx.Var, tirx.Var] = {}

    def allocate(node: tirx.AllocBuffer) -> None:
        allocated.add(node.buffer)

    def declare(node: tirx.DeclBuffer) -> None:
        declared = _source(node)
        source = names.get(declared, declared) if declared is not None else None
        if source is not None and source in allocated:
            names[node.buffer] = source

    tvm_ffi.structural_walk(func.body, [(tirx.AllocBuffer, allocate), (tirx.DeclBuffer, declare)])
    return names


def _source(node: tirx.DeclBuffer) -> tirx.Var | None:
    """The buffer on whose memory another is declared; None for that of the caller."""
    data = node.data
    if isinstance(data, Call) and str(getattr(data.op, "name", "")) == "tirx.buffer_data":
        (buffer,) = data.args
        return buffer
    return None


def _bits(buffer: tirx.Var) -> int:
    return tvm_ffi.dtype(str(buffer.dtype)).bits
