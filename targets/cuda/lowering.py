"""From kernels with launches to what CUDA C++ is generated from, and to the host's code that launches them."""

from __future__ import annotations

import tvm
from tvm import s_tir, tirx

from dsc.lower.floats import opaque, plain
from dsc.lower.functions import Expansions, expanded
from dsc.targets.gpu.floats import extremes_as_choices, halves_in_float32
from dsc.targets.tir.passes import common_subexpressions, compacted_blocks, each
from dsc.targets.tir.plain_shapes import plain_shapes


def kernel_passes(functions: Expansions) -> tvm.transform.Pass:
    """An explicit list, to functions of the host that launch functions of the device.

    functions: how the machine computes elementary functions.
    """
    return tvm.transform.Sequential(
        [
            each(lambda func: expanded(func, functions), "dsc.expanded_functions"),
            each(opaque, "dsc.opaque_floats"),
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerCrossThreadReduction(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.LiftThreadBinding(),
            compacted_blocks(),
            s_tir.transform.UnifyThreadBinding(),
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
            tirx.transform.AnnotateEntryFunc(),
            s_tir.transform.ThreadSync("shared"),
            s_tir.transform.ThreadSync("shared.dyn"),
            s_tir.transform.LowerThreadAllreduce(),
            s_tir.transform.MergeSharedMemoryAllocations(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
        ],
        name="dsc.cuda.kernels",
    )


def host_passes() -> tvm.transform.Pass:
    """The part of the host, which launches."""
    return tvm.transform.Sequential(
        [
            tirx.transform.LowerTVMBuiltin(),
            each(plain_shapes, "dsc.plain_shapes"),
            each(plain, "dsc.plain_floats"),
            tirx.transform.LowerIntrin(),
            tirx.transform.ConvertSSA(),
        ],
        name="dsc.cuda.host",
    )


def device_passes() -> tvm.transform.Pass:
    """The part of the device. Floats are shown when all simplifiers are done."""
    return tvm.transform.Sequential(
        [
            tirx.transform.StmtSimplify(),
            each(plain, "dsc.plain_floats"),
            each(extremes_as_choices, "dsc.extremes_as_choices"),
            each(halves_in_float32, "dsc.halves_in_float32"),
            tirx.transform.LowerIntrin(),
        ],
        name="dsc.cuda.device",
    )
