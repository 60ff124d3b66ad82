"""From scheduled functions to what LLVM code for a CPU is generated from: TVM's own list without its GPU part."""

from __future__ import annotations

import tvm
from tvm import s_tir, tirx

from dsc.lower.floats import opaque, plain
from dsc.lower.functions import Expansions, expanded
from dsc.targets.cpu.bfloat16 import bfloat16_operands, hidden_roundings, plain_roundings
from dsc.targets.cpu.float16 import integer_conversions
from dsc.targets.cpu.nearest import nearest_conversions
from dsc.targets.cpu.stack import on_stack
from dsc.targets.tir.lets import flat_lets
from dsc.targets.tir.passes import any_alignment, compacted_blocks, each, flat_loops
from dsc.targets.tir.plain_shapes import plain_shapes


def tir_passes(functions: Expansions, float16: bool = True, bfloat16: bool = False) -> tvm.transform.Pass:
    """An explicit list: everything is scheduled already.

    functions: how the machine computes elementary functions.
    float16: whether it has instructions that convert vectors of float16.
    bfloat16: whether it has one that rounds vectors to bfloat16.
    """
    conversions = [] if float16 else [each(integer_conversions, "dsc.integer_conversions")]
    hide = [each(hidden_roundings, "dsc.hidden_roundings")] if bfloat16 else []
    show = [each(plain_roundings, "dsc.plain_roundings")] if bfloat16 else []
    return tvm.transform.Sequential(
        [
            *hide,
            each(lambda func: expanded(func, functions), "dsc.expanded_functions"),
            each(opaque, "dsc.opaque_floats"),
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            compacted_blocks(),
            *flat_loops(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
            # vector loads that need no alignment cost nothing more on data that is aligned
            each(any_alignment, "dsc.any_alignment"),
            each(on_stack, "dsc.on_stack"),
            tirx.transform.LowerTVMBuiltin(),
            each(plain_shapes, "dsc.plain_shapes"),
            *show,
            each(nearest_conversions, "dsc.nearest"),
            each(plain, "dsc.plain_floats"),
            tirx.transform.LowerIntrin(),
            *conversions,
            tirx.transform.ConvertSSA(),
            each(flat_lets, "dsc.flat_lets"),
            each(bfloat16_operands, "dsc.bfloat16_operands"),
        ],
        name="dsc.tir",
    )
