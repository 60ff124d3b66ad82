"""Sizes of workspaces in variables.

`LowerIntrin` writes a division by what may be negative as a `Let`, and `ConvertSSA` gives each copy of a `Let` a
variable of its own. A buffer whose shape has one would be another buffer wherever it is used.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr


def named_sizes(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """The shapes of flat buffers as variables that are bound once, where they follow from sizes of the parameters."""
    known = _sizes(func)
    bound: list[tirx.Stmt] = []
    named: dict[tirx.Var, tirx.Var] = {}

    def name(node: tirx.AllocBuffer | tirx.DeclBuffer) -> None:
        buffer = node.buffer
        if len(buffer.shape) != 1 or isinstance(buffer.shape[0], tirx.IntImm | tirx.Var):
            return
        size: Expr = buffer.shape[0]
        if all(any(v.same_as(k) for k in known) for v in tirx.analysis.undefined_vars(size)):
            variable = tirx.Var(f"{buffer.name}_size", str(size.expr_ty()))
            bound.append(tirx.Bind(variable, size))
            named[buffer] = _resized(buffer, variable)

    tvm_ffi.structural_walk(func.body, ((tirx.AllocBuffer, tirx.DeclBuffer), name))
    if not named:
        return func
    body = tvm_ffi.structural_map(func.body, (tirx.Var, lambda v: named.get(v, v)))
    return func.with_body(tirx.SeqStmt([*bound, body]))


def _sizes(func: tirx.PrimFunc) -> list[tirx.Var]:
    """The variables that the parameters bring: scalars, and the dims of buffers."""
    found: list[tirx.Var] = []
    for parameter in func.params:
        if tirx.is_buffer_var(parameter):
            found += [v for size in parameter.shape for v in tirx.analysis.undefined_vars(size)]
        else:
            found.append(parameter)
    return found


def _resized(buffer: tirx.Var, size: tirx.Var) -> tirx.Var:
    return tirx.decl_buffer(
        (size,),
        buffer.dtype,
        buffer.name,
        elem_offset=buffer.elem_offset,
        scope=buffer.scope(),
        data_alignment=buffer.data_alignment,
        offset_factor=buffer.offset_factor,
    )
