"""From a Relax module of scheduled PrimFuncs to objects: an explicit, short list of passes.

Everything is scheduled and every tensor op is a call already, so nothing of TVM's legalization, fusion and
constant folding is here; those cost tens of seconds on large models.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax, s_tir, tirx

from dsc.targets.cpu.stack import on_stack

_NAME = "dsc"


def relax_passes() -> tvm.transform.Pass:
    """Calls of kernels to VM instructions, with memory planned."""
    passes = relax.transform
    return tvm.transform.Sequential(
        [
            passes.RemovePurityChecking(),
            passes.CallTIRRewrite(),
            passes.StaticPlanBlockMemory(),
            passes.LowerAllocTensor(),
            passes.KillAfterLastUse(),
            passes.LowerRuntimeBuiltin(),
            passes.ComputePrimValue(),
            passes.VMShapeLower(),
            passes.AttachGlobalSymbol(),
        ],
        name="dsc.relax",
    )


def _tir_passes() -> tvm.transform.Pass:
    """Scheduled S-TIR for CPUs to what LLVM code is generated from: TVM's own list without its GPU part."""
    return tvm.transform.Sequential(
        [
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.LowerMatchBuffer(),
            s_tir.transform.StmtSimplify(),
            s_tir.transform.AnnotateIrregularLoop(),
            s_tir.transform.LowerOpaqueBlock(),
            tirx.transform.FlattenBuffer(),
            tirx.transform.BF16ComputeLegalize(),
            tirx.transform.NarrowDataType(32),
            s_tir.transform.LoopPartition(),
            tirx.transform.VectorizeLoop(True),
            tirx.transform.StorageRewrite(),
            tirx.transform.UnrollLoop(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            tirx.transform.CommonSubexprElim(),
            tirx.transform.VerifyMemory(),
            tirx.transform.AnnotateEntryFunc(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
            _any_alignment(),
            tirx.transform.BF16StorageLegalize(),
        ],
        name="dsc.tir",
    )


def _any_alignment() -> tvm.transform.Pass:
    """Forget that arguments are aligned to 64 bytes: arrays of the caller are not, and need not be copied then.

    On the processors of today, vector loads that need no alignment cost nothing more where the data is aligned.
    """

    @tirx.transform.prim_func_pass(opt_level=0, name="dsc.any_alignment")
    def strip(func: tirx.PrimFunc, _module: tvm.IRModule, _context: tvm.transform.PassContext) -> tirx.PrimFunc:
        return func.with_body(_without_alignment(func.body))

    return strip


def _without_alignment(stmt: tirx.Stmt) -> tirx.Stmt:
    """The statement without the attributes that MakePackedAPI nests around a function's body."""
    if isinstance(stmt, tirx.AttrStmt) and stmt.attr_key == "storage_alignment":
        return _without_alignment(stmt.body)
    if isinstance(stmt, tirx.SeqStmt):
        return tirx.SeqStmt([_without_alignment(part) for part in stmt.seq])
    return stmt


def _pipeline() -> tuple[
    tvm.transform.Pass, Callable[[], tvm.transform.Pass], Callable[[], tvm.transform.Pass]
]:
    """What `tvm.compile(tir_pipeline=...)` asks for: lowering, then finishing host and device functions."""
    host = tvm.transform.Sequential(
        [on_stack(), tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()]
    )
    return _tir_passes(), lambda: host, lambda: host


tirx.register_tir_pipeline(_NAME, _pipeline)


def compile_module(module: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Executable:
    """LLVM objects and VM bytecode of a module made by `dsc.codegen.emit`."""
    return tvm.compile(module, target=target, relax_pipeline=relax_passes(), tir_pipeline=_NAME)
