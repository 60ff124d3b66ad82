"""Registers one by one.

LLVM makes an array of a thread one vector if it can, before it looks whether its elements are ever taken together: a
tile of sums would be sixteen neighbouring registers that are copied as a whole. An array of one is not in its way.
"""

from __future__ import annotations

from collections import defaultdict

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm_ffi.structural import StructuralMutator

REGISTERS = "local"


def one_by_one(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with a buffer for each element of those whose elements are only read and written by their number."""
    whole = _taken_whole(func)
    single: dict[tirx.Var, list[tirx.Var]] = {}

    def allocate(node: tirx.AllocBuffer) -> None:
        buffer = node.buffer
        count = buffer.shape[0]
        if buffer.scope() == REGISTERS and buffer not in whole and isinstance(count, tirx.IntImm) and count.value > 1:
            single[buffer] = [
                tirx.decl_buffer((1,), buffer.dtype, f"{buffer.name}_{i}", scope=REGISTERS) for i in range(count.value)
            ]

    tvm_ffi.structural_walk(func.body, (tirx.AllocBuffer, allocate))

    def allocated(node: tirx.AllocBuffer, mutator: StructuralMutator) -> tirx.Stmt:
        if node.buffer not in single:
            return mutator.default_mutate(node)
        return tirx.SeqStmt([tirx.AllocBuffer(buffer) for buffer in single[node.buffer]])

    def load(node: TensorLoad, mutator: StructuralMutator) -> Expr:
        if node.source not in single:
            return mutator.default_mutate(node)
        return single[node.source][node.indices[0].value][0]

    def store(node: tirx.BufferStore, mutator: StructuralMutator) -> tirx.Stmt:
        if node.buffer not in single:
            return mutator.default_mutate(node)
        return tirx.BufferStore(single[node.buffer][node.indices[0].value], mutator.mutate(node.value), [0])

    handlers = [(tirx.AllocBuffer, allocated), (TensorLoad, load), (tirx.BufferStore, store)]
    return func.with_body(tvm_ffi.structural_mutate(func.body, handlers)) if single else func


def _taken_whole(func: tirx.PrimFunc) -> set[tirx.Var]:
    """Buffers that are read or written at places that vary, or several at once, or named in another way."""
    by_number: defaultdict[tirx.Var, int] = defaultdict(int)
    named: defaultdict[tirx.Var, int] = defaultdict(int)

    def access(buffer: tirx.Var, indices: list[Expr]) -> None:
        if len(indices) == 1 and isinstance(indices[0], tirx.IntImm):
            by_number[buffer] += 1

    def name(var: tirx.Var) -> None:
        named[var] += 1

    tvm_ffi.structural_walk(
        func.body,
        [
            (TensorLoad, lambda node: access(node.source, node.indices)),
            (tirx.BufferStore, lambda node: access(node.buffer, node.indices)),
            (tirx.AllocBuffer, lambda node: access(node.buffer, [tirx.const(0, "int32")])),
            (tirx.Var, name),
        ],
    )
    return {buffer for buffer, times in named.items() if times != by_number[buffer]}
