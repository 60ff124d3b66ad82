"""LLVM's code for AMD's processors, written by hand: one kernel with two arrays and its index in the workgroup."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsc.simulator import Counters, simulated_kernels

BARRIER = """
  fence syncscope("workgroup") release, !mmra !0
  call void @llvm.amdgcn.s.barrier()
  fence syncscope("workgroup") acquire, !mmra !0
"""
SHARED = "@s = private unnamed_addr addrspace(3) global [64 x float] undef, align 16\n"


def kernel(body: str, globals: str = "", threads: int = 256) -> str:
    """With arrays %x and %y, the number %n, and %t; intrinsics need not be declared."""
    return f"""source_filename = "written by hand"
target triple = "amdgcn-amd-amdhsa-hcc"
{globals}
define dllexport amdgpu_kernel void @k(ptr addrspace(1) noalias readonly %x, ptr addrspace(1) %y, i32 %n) #0 {{
entry:
  %t = tail call i32 @llvm.amdgcn.workitem.id.x()
{body}
  ret void
}}
attributes #0 = {{ nounwind "amdgpu-flat-work-group-size"="1,{threads}" "target-cpu"="gfx942" }}
!0 = !{{!"amdgpu-synchronize-as", !"local"}}
"""


def at(name: str, array: str, index: str, type: str = "float", space: int = 1) -> str:
    """An instruction that computes the address of an element."""
    return f"  %{name} = getelementptr inbounds {type}, ptr addrspace({space}) {array}, i32 {index}\n"


def moved(of: str, type: str = "i32", prefix: str = "") -> str:
    """Instructions that load element %t of %x as %v, and store what `of` makes of it (%r) as element %t of %y."""
    return (
        prefix
        + at("p", "%x", "%t", type)
        + f"  %v = load {type}, ptr addrspace(1) %p, align 4\n{of}\n"
        + at("q", "%y", "%t", type)
        + f"  store {type} %r, ptr addrspace(1) %q, align 4\n"
    )


def launched(code: str, arch: str, x: np.ndarray, y: np.ndarray, threads: int = 64, **options: object) -> Counters:
    """What a launch of one workgroup does."""
    with simulated_kernels(arch, **options) as simulation:  # type: ignore[arg-type]
        simulation.launch(code, "k", (1,), (threads,), x, y, len(x))
        return simulation.counters()["k"]


def lanes(registers: Sequence[np.ndarray]) -> np.ndarray:
    """What each lane holds, lane after lane."""
    return np.ascontiguousarray(np.stack(registers))
