"""The functions of a model's module: the code of each workload, and whatever else is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm import relax, tirx

from dsc.codegen.selection import Choice, Chooser, Failures, select
from dsc.lower.walk import identifier
from dsc.lower.workload import Workload
from dsc.targets.kernel import Implementation, Kernel
from dsc.targets.machine import Machine


@dataclass(frozen=True)
class Code:
    """A kernel that is part of the module."""

    function: tvm.ir.GlobalVar
    implementation: Implementation


class Functions:
    """Generates code; workloads of equal key share it."""

    def __init__(self, machine: Machine, kernels: Sequence[Kernel], chooser: Chooser, failures: Failures) -> None:
        """Kernels with `failures` are not taken again."""
        self.choices: list[Choice] = []
        self._machine, self._kernels, self._chooser, self._failures = machine, kernels, chooser, failures
        self._builder = relax.BlockBuilder()
        self._codes: dict[str, Code] = {}

    def code(self, workload: Workload) -> Code:
        """The code of a workload: of a kernel chosen for it, if it was not met before."""
        return self._codes.get(workload.key()) or self._generate(workload)

    def add(self, func: tirx.PrimFunc, name: str) -> tvm.ir.GlobalVar:
        """Add code to the module, unless the same code is there already."""
        unique = f"{identifier(name.replace('onnx.', ''))}_{len(self._codes)}"
        return self.add_named(func.without_attr("global_symbol"), unique)

    def add_named(self, func: tirx.PrimFunc | relax.Function, name: str) -> tvm.ir.GlobalVar:
        """As `add`, under this very name."""
        return self._builder.add_func(func, name)

    def module(self) -> tvm.IRModule:
        """All that was added."""
        if not self._codes:
            # A module of VM instructions alone is not exported by TVM.
            self.add_named(tirx.PrimFunc([], tirx.Evaluate(0)), "nothing")
        return self._builder.get()

    def _generate(self, workload: Workload) -> Code:
        selected = select(workload, self._kernels, self._machine, self._chooser, self._failures)
        chosen, implementation = selected.candidate, selected.implementation
        function = self.add(implementation.func, f"{chosen.kernel.name}_{workload.kind}")
        code = self._codes[workload.key()] = Code(function, implementation)
        failed = tuple(self._failures.of(workload.key()).items())
        self.choices.append(
            Choice(
                function.name_hint, workload.kind, workload.key(), chosen.kernel.name, str(chosen.point),
                chosen.estimate, tuple(selected.refusals), selected.candidates, failed,
            )
        )  # fmt: skip
        return code
