"""Functions in LLVM's own language that kernels call: a barrier that memory keeps to, and AMD's library.

TVM links them to the kernels that call them, and inlines all; linked "once" only, nothing else is left of them.
"""

from __future__ import annotations

from pathlib import Path

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm.functions import OCML
from dsc.targets.rocm.toolchain import find_ocml

BARRIER = "dsc_barrier"
BARRIER_CODE = f"""
define linkonce_odr hidden void @{BARRIER}() convergent nounwind {{
  fence syncscope("workgroup") release, !mmra !0
  call void @llvm.amdgcn.s.barrier()
  fence syncscope("workgroup") acquire, !mmra !0
  ret void
}}
declare void @llvm.amdgcn.s.barrier()
!0 = !{{!"amdgpu-synchronize-as", !"local"}}
"""
"""The barrier with fences for local memory (User Guide for AMDGPU Backend, "Memory Model"). TVM writes the instruction
alone, which orders nothing: LLVM may move loads across it, and does not wait for what was written before."""


STEP = "dsc_step"
STEP_CODE = f"""
define linkonce_odr hidden void @{STEP}() nounwind {{
  call void asm sideeffect "", ""() noduplicate
  ret void
}}
"""
"""What a loop begins with that LLVM shall not unroll: nothing that there may be twice."""
OWN = {BARRIER: BARRIER_CODE, STEP: STEP_CODE}


def barriers(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Calls of `BARRIER` where threads of a block wait for each other."""

    def replaced(node: Call, mutator: StructuralMutator) -> Expr:
        if str(getattr(node.op, "name", "")) != "tirx.tvm_storage_sync":
            return mutator.default_mutate(node)
        return tirx.call_extern("void", BARRIER)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(Call, replaced)]))


def libraries(module: tvm.IRModule, machine: Gpu, folder: Path) -> list[str]:
    """Files with the code of what functions of the device call, some of them new ones in `folder`.

    Raises `UsageError` where AMD's library is called and not there.
    """
    called = set[str]().union(*map(_called, module.functions.values()))
    texts = {f"{name}.ll": code for name, code in OWN.items() if name in called}
    found = []
    if of_library := sorted(name for name in called if name.startswith(OCML)):
        found.append(str(find_ocml(of_library[0])))
        texts["controls.ll"] = _controls(machine)
    for name, text in texts.items():
        (folder / name).write_text(text)
        found.append(str(folder / name))
    return found


def _called(func: tirx.PrimFunc) -> set[str]:
    """Names of functions that are not TVM's."""
    found: set[str] = set()

    def note(node: Call) -> None:
        if str(getattr(node.op, "name", "")) in ("tirx.call_extern", "tirx.call_pure_extern"):
            found.add(str(node.args[0].value))

    tvm_ffi.structural_walk(func.body, (Call, note))
    return found


def _controls(machine: Gpu) -> str:
    """What AMD's library asks of the machine, and of how exact it shall be (ROCm-Device-Libs, OCML.md, "Controls")."""
    stepping = machine.arch.removeprefix("gfx")
    number = int(stepping[:-2]) * 1000 + int(stepping[-2:-1], 16) * 100 + int(stepping[-1:], 16)
    bytes_ = {
        "finite_only_opt": 0,
        "unsafe_math_opt": 0,
        "daz_opt": 0,
        "correctly_rounded_sqrt32": 1,
        "wavefrontsize64": int(machine.warp == 64),
    }
    lines = [_constant(name, "i8", value) for name, value in bytes_.items()]
    return "\n".join([*lines, _constant("ISA_version", "i32", number), _constant("ABI_version", "i32", 500), ""])


def _constant(name: str, kind: str, value: int) -> str:
    return f"@__oclc_{name} = linkonce_odr hidden local_unnamed_addr addrspace(4) constant {kind} {value}"
