"""Passes over functions that more than one backend wants."""

from __future__ import annotations

from collections.abc import Callable

import tvm
import tvm_ffi
from tvm import s_tir, tirx


def each(rewrite: Callable[[tirx.PrimFunc], tirx.PrimFunc], name: str) -> tvm.transform.Pass:
    """A pass that rewrites each function by itself."""

    @tirx.transform.prim_func_pass(opt_level=0, name=name)  # type: ignore[untyped-decorator]
    def apply(func: tirx.PrimFunc, _module: tvm.IRModule, _context: tvm.transform.PassContext) -> tirx.PrimFunc:
        return rewrite(func)

    return apply


def compacted_blocks() -> tvm.transform.Pass:
    """CompactBufferAllocation for functions of blocks, which schedules made.

    Kernels that write their loops themselves say how large a buffer is. TVM would make its size the hull of all
    accesses, which is a maximum of as many terms where a dim is symbolic: the passes after it took a minute.
    """
    compact = s_tir.transform.CompactBufferAllocation()

    @tvm.transform.module_pass(opt_level=0, name="dsc.compacted_blocks")  # type: ignore[untyped-decorator]
    def apply(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        return compact(module) if any(_has_blocks(f) for f in module.functions.values()) else module

    return apply


def _has_blocks(func: tirx.PrimFunc) -> bool:
    found: list[s_tir.SBlockRealize] = []
    tvm_ffi.structural_walk(func.body, (s_tir.SBlockRealize, found.append))
    return bool(found)


def common_subexpressions() -> tvm.transform.Pass:
    """CommonSubexprElim, for functions that hold together after it.

    Where a term is in the body of a `Let` and in a later statement, it may put the term's variable between the two, and
    use it in both. LLVM finds such terms as well.
    """
    eliminate = tirx.transform.CommonSubexprElim()

    @tvm.transform.module_pass(opt_level=0, name="dsc.common_subexpressions")  # type: ignore[untyped-decorator]
    def apply(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        changed = eliminate(module)
        for name, func in module.functions.items():
            if not tirx.analysis.verify_well_formed(changed[name], False):
                changed[name] = func
        return changed

    return apply


def flat_loops() -> list[tvm.transform.Pass]:
    """From blocks without patterns to loops over flat memory, simplified: what CPUs and GPUs have in common."""
    return [
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.AnnotateIrregularLoop(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        common_subexpressions(),
        tirx.transform.VerifyMemory(),
    ]


def any_alignment(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Forgets that arguments are aligned to 64 bytes: arrays of the caller are not, and are not copied then."""

    def forget(node: tirx.AttrStmt) -> tirx.Stmt:
        return node.body if node.attr_key == "storage_alignment" else node

    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.AttrStmt, forget)))
