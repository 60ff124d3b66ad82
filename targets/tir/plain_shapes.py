"""Shapes of buffers without arithmetic, for where they mean nothing any more.

`LowerIntrin` writes a division by what may be negative as a `Let`, and `ConvertSSA` gives each copy of a `Let` a
variable of its own. A buffer whose shape has one would be another buffer wherever it is used.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr


def plain_shapes(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Ones for the computed dims of buffers that are declared on memory: accesses are flat by now. What is still
    allocated by its shape keeps it."""
    plain: dict[tirx.Var, tirx.Var] = {}

    def declare(node: tirx.DeclBuffer) -> None:
        if any(map(_computed, (*node.buffer.shape, *node.buffer.strides))):
            plain[node.buffer] = _without_arithmetic(node.buffer)

    tvm_ffi.structural_walk(func.body, (tirx.DeclBuffer, declare))
    if not plain:
        return func
    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.Var, lambda v: plain.get(v, v))))


def _computed(size: Expr) -> bool:
    return not isinstance(size, tirx.IntImm | tirx.Var)


def _without_arithmetic(buffer: tirx.Var) -> tirx.Var:
    one = tirx.const(1, "int64")
    return tirx.decl_buffer(
        [one if _computed(size) else size for size in buffer.shape],
        buffer.dtype,
        buffer.name,
        strides=[one if _computed(step) else step for step in buffer.strides],
        elem_offset=buffer.elem_offset,
        scope=buffer.scope(),
        data_alignment=buffer.data_alignment,
        offset_factor=buffer.offset_factor,
    )
