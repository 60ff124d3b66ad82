"""The passes between a Relax module of scheduled PrimFuncs and LLVM: an explicit, short list.

Everything is scheduled and every tensor op is a call already, so nothing of TVM's legalization, fusion and
constant folding is here; those cost tens of seconds on large models.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

from dsc.codegen.lets import flat_lets
from dsc.codegen.plain_shapes import plain_shapes
from dsc.lower.floats import opaque, plain
from dsc.lower.functions import Expansions, expanded
from dsc.targets.cpu.functions import FUNCTIONS
from dsc.targets.cpu.stack import on_stack


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
            _ordered_shape_functions(),
            passes.AttachGlobalSymbol(),
        ],
        name="dsc.relax",
    )


def tir_passes(functions: Expansions = FUNCTIONS) -> tvm.transform.Pass:
    """Scheduled S-TIR for CPUs to what LLVM code is generated from: TVM's own list without its GPU part.

    `functions` is how the machine computes elementary functions.
    """
    return tvm.transform.Sequential(
        [
            _each(lambda func: expanded(func, functions), "dsc.expanded_functions"),
            _each(opaque, "dsc.opaque_floats"),
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            _compacted_blocks(),
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
            tirx.transform.CommonSubexprElim(),
            tirx.transform.VerifyMemory(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
            _any_alignment(),
            on_stack(),
            tirx.transform.LowerTVMBuiltin(),
            _each(plain_shapes, "dsc.plain_shapes"),
            _each(plain, "dsc.plain_floats"),
            tirx.transform.LowerIntrin(),
            tirx.transform.ConvertSSA(),
            _each(flat_lets, "dsc.flat_lets"),
        ],
        name="dsc.tir",
    )


def _ordered_shape_functions() -> tvm.transform.Pass:
    """Sort the stores of the functions that compute sizes, which are independent of one another.

    VMShapeLower emits them in the order of addresses in memory, which differs from run to run.
    """

    @tirx.transform.prim_func_pass(opt_level=0, name="dsc.ordered_shape_functions")  # type: ignore[untyped-decorator]
    def apply(func: tirx.PrimFunc, _module: tvm.IRModule, _context: tvm.transform.PassContext) -> tirx.PrimFunc:
        if not func.attrs or "tirx.is_host_func" not in func.attrs or not isinstance(func.body, tirx.SeqStmt):
            return func
        return func.with_body(tirx.SeqStmt(sorted(func.body, key=lambda store: int(store.indices[0]))))

    return apply


def _each(rewrite: Callable[[tirx.PrimFunc], tirx.PrimFunc], name: str) -> tvm.transform.Pass:
    """A pass of a function of functions."""

    @tirx.transform.prim_func_pass(opt_level=0, name=name)  # type: ignore[untyped-decorator]
    def apply(func: tirx.PrimFunc, _module: tvm.IRModule, _context: tvm.transform.PassContext) -> tirx.PrimFunc:
        return rewrite(func)

    return apply


def _compacted_blocks() -> tvm.transform.Pass:
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


def _any_alignment() -> tvm.transform.Pass:
    """Forget that arguments are aligned to 64 bytes: arrays of the caller are not, and are not copied then.

    On today's processors, vector loads that need no alignment cost nothing more where the data is aligned.
    """

    def forget(node: tirx.AttrStmt) -> tirx.Stmt:
        return node.body if node.attr_key == "storage_alignment" else node

    @tirx.transform.prim_func_pass(opt_level=0, name="dsc.any_alignment")  # type: ignore[untyped-decorator]
    def apply(func: tirx.PrimFunc, _module: tvm.IRModule, _context: tvm.transform.PassContext) -> tirx.PrimFunc:
        return func.with_body(tvm_ffi.structural_map(func.body, (tirx.AttrStmt, forget)))

    return apply
