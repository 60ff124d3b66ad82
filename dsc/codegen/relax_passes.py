"""The passes between a Relax module of scheduled PrimFuncs and the bytecode of its machine: an explicit, short list.

Everything is scheduled and every tensor op is a call already, so nothing of TVM's legalization, fusion and
constant folding is here; those cost tens of seconds on large models.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx


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
