"""Sizes of workspaces as variables."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx

from dsc.codegen.workspaces import named_sizes


def _func(size: tirx.Expr, rows: tirx.Var, x: tirx.Var, *before: tirx.Stmt) -> tirx.PrimFunc:
    work = tirx.decl_buffer((size,), "float32", "work")
    zero = tirx.const(0, "int64")
    body = tirx.SeqStmt([*before, tirx.AllocBuffer(work), tirx.BufferStore(work, x[zero], [zero])])
    return tirx.PrimFunc([x], body)


def _allocated(func: tirx.PrimFunc) -> list[tirx.AllocBuffer]:
    found: list[tirx.AllocBuffer] = []
    tvm_ffi.structural_walk(func.body, (tirx.AllocBuffer, found.append))
    return found


def test_a_size_that_is_computed_is_bound_once() -> None:
    rows = tirx.Var("rows", "int64")
    size = tirx.floormod(rows, tirx.const(-3, "int64")) + rows
    func = named_sizes(_func(size, rows, tirx.decl_buffer((rows,), "float32", "x")))
    bind, *_ = func.body
    (allocated,) = _allocated(func)
    assert isinstance(bind, tirx.Bind)
    assert bind.value.same_as(size)
    assert allocated.buffer.shape[0].same_as(bind.var)
    stores: list[tirx.BufferStore] = []
    tvm_ffi.structural_walk(func.body, (tirx.BufferStore, stores.append))
    assert stores[0].buffer.same_as(allocated.buffer)


def test_other_sizes_stay() -> None:
    rows, inner = tirx.Var("rows", "int64"), tirx.Var("inner", "int64")
    x = tirx.decl_buffer((rows,), "float32", "x")
    inside = tirx.Bind(inner, rows * rows)
    for func in (
        _func(tirx.const(5, "int64"), rows, x),
        _func(rows, rows, x),
        _func(inner + 1, rows, x, inside),  # not known where the function begins
    ):
        assert named_sizes(func).same_as(func)
