"""Small buffers on the stack: TVM 0.27 asks its allocator for all in scope "local", and for all of 1 KiB or more."""

from __future__ import annotations

import math

import tvm_ffi
from tvm import tirx

STACK_BYTES = 128 * 1024
"""What one function may put on the stack. Threads have 8 MiB by default, and some runtimes give theirs 1 MiB."""
FINAL = {"disable_lower_builtin": tirx.IntImm("bool", 1)}
"""Tells `LowerTVMBuiltin` to leave an allocation alone; code generation makes an `alloca` of it."""


def on_stack(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Buffers of a fixed size on the stack; for just before `LowerTVMBuiltin`.

    Registers (scope "local") always go there, others first come, first served.

    An allocation by a call costs some 30 ns, and LLVM neither keeps it in registers nor knows what it overlaps.
    """
    left = STACK_BYTES

    def allocate(node: tirx.AllocBuffer) -> tirx.AllocBuffer:
        nonlocal left
        size = _bytes(node.buffer)
        if not size:
            return node
        if node.buffer.scope() != "local":
            if size > left:
                return node
            left -= size
        return tirx.AllocBuffer(node.buffer, dict(FINAL))

    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.AllocBuffer, allocate)))


def _bytes(buffer: tirx.Var) -> int | None:
    if not all(isinstance(size, tirx.IntImm) for size in buffer.shape):
        return None
    element = tvm_ffi.dtype(str(buffer.dtype))
    return math.prod(int(size.value) for size in buffer.shape) * max(8, element.bits) * element.lanes // 8
