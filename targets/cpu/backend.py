"""The backend of CPUs: LLVM makes the code, a C compiler links it with dsc's thread pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import tvm
from tvm import s_tir, te, tirx

from dsc.lower.functions import Expansions
from dsc.lower.te import unscheduled
from dsc.needs import Needs
from dsc.targets.cpu.functions import FUNCTIONS
from dsc.targets.cpu.generic.nests import start_outside
from dsc.targets.cpu.generic.prepare import empty
from dsc.targets.cpu.link import HOST, Compiler, link
from dsc.targets.cpu.lowering import tir_passes
from dsc.targets.cpu.machine import Cpu
from dsc.targets.resources import KernelResources

_CONFIG = {"tirx.enable_buffer_level_predication": False}
"""What TVM does for SVE unless told otherwise: masks, which it then calls LLVM for with indices of the wrong size."""


@dataclass(frozen=True)
class CpuBackend:
    """`dsc.targets.Backend` of a CPU, which is its own host."""

    machine: Cpu
    compiler: Compiler = HOST
    """Makes code for the machine."""
    functions: Expansions = field(default_factory=lambda: FUNCTIONS)
    """How it computes elementary functions."""

    @property
    def needs(self) -> tuple[Needs, ...]:
        """Instruction set and features."""
        features = tuple(sorted(self.machine.features))
        return (Needs("cpu", {"arch": self.machine.triple.partition("-")[0], "features": features}),)

    @cached_property
    def target(self) -> tvm.target.Target:
        """LLVM's, which is its own host."""
        machine = self.machine
        config: dict[str, object] = {
            "kind": "llvm",
            "mcpu": machine.mcpu,
            "mtriple": machine.triple,
            "num-cores": machine.cores,
        }
        if machine.mattr:
            config["mattr"] = list(machine.mattr)
        if machine.llvm_options:
            config["cl-opt"] = list(machine.llvm_options)
        return tvm.target.Target(config)

    def require_tools(self) -> None:
        """A C compiler."""
        self.compiler.find()

    def plain(
        self, inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor]
    ) -> tirx.PrimFunc:
        """Loops as they come: they run on a CPU."""
        func = unscheduled(inputs, scalars, outputs)
        if empty(func):
            return func
        sch = s_tir.Schedule(func)
        start_outside(sch)
        return sch.mod["main"]

    def lower(self, module: tvm.IRModule) -> tvm.IRModule:
        with self.target, tvm.transform.PassContext(opt_level=3, config=_CONFIG):
            module = tirx.transform.BindTarget(self.target.with_host(self.target))(module)
            return tir_passes(self.functions, self.machine.converts_float16, self.machine.rounds_bfloat16)(module)

    def generate(self, lowered: tvm.IRModule) -> tvm.runtime.Module:
        return tvm.get_global_func("target.build.llvm")(lowered, self.target)

    def pack(self, imports: bytes) -> bytes:
        """As it is: there is no code of another device."""
        return imports

    def assembly(self, code: tvm.runtime.Module) -> str:
        return str(code.inspect_source("asm"))

    def resources(self, lowered: tvm.IRModule, code: tvm.runtime.Module) -> tuple[KernelResources, ...]:
        """None: LLVM does not tell."""
        return ()

    def link(self, objects: Sequence[Path], output: Path) -> None:
        link(objects, output, self.compiler)
