"""One name for each piece of a block's or a thread's memory.

TVM's code generator takes a second name for what has one already (`DeclBuffer`, which reuse of memory leaves) to be of
memory that all blocks share, and casts its address to that: what is written there is lost, or somebody else's.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call
from tvm_ffi.structural import StructuralMutator

from dsc.errors import DscError


@tvm_ffi.register_error
class AliasError(DscError):
    """A kernel has its own memory under a name of another type. (Registered, it passes through TVM's passes.)"""


def without_aliases(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """The name that memory was allocated under in place of all others. Raises `AliasError` where types differ."""
    allocated: set[tirx.Var] = set()
    names: dict[tirx.Var, tirx.Var] = {}
    differing: list[str] = []

    def allocate(node: tirx.AllocBuffer) -> None:
        allocated.add(node.buffer)

    def declare(node: tirx.DeclBuffer) -> None:
        declared = _source(node)
        source = names.get(declared, declared) if declared is not None else None
        if source is None or source not in allocated:
            return
        names[node.buffer] = source
        if source.dtype != node.buffer.dtype:
            differing.append(f"{node.buffer.name} of {node.buffer.dtype} is {source.name} of {source.dtype}")

    tvm_ffi.structural_walk(func.body, [(tirx.AllocBuffer, allocate), (tirx.DeclBuffer, declare)])
    if differing:
        raise AliasError(f"memory of a block or a thread has two types: {'; '.join(differing)}")

    def dropped(node: tirx.DeclBuffer, mutator: StructuralMutator) -> tirx.Stmt:
        return tirx.Evaluate(tirx.const(0, "int32")) if node.buffer in names else mutator.default_mutate(node)

    def renamed(var: tirx.Var, _: StructuralMutator) -> tirx.Var:
        return names.get(var, var)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.DeclBuffer, dropped), (tirx.Var, renamed)]))


def _source(node: tirx.DeclBuffer) -> tirx.Var | None:
    """The buffer on whose memory another is declared; None for that of the caller."""
    data = node.data
    if isinstance(data, Call) and str(getattr(data.op, "name", "")) == "tirx.buffer_data":
        (buffer,) = data.args
        return buffer
    return None
