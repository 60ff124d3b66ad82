"""The functions of a model's module: the code of each workload, and whatever else is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm import relax, te, tirx

from dsc.codegen.selection import Choice, Chooser, Failures, select
from dsc.lower.walk import identifier
from dsc.lower.workload import Workload
from dsc.runtime.sessions import MAIN
from dsc.targets.family import AnyTarget
from dsc.targets.kernel import Implementation


@dataclass(frozen=True)
class Code:
    """A kernel that is part of the module."""

    function: tvm.ir.GlobalVar
    """Kernels of other workloads may have the same one: equal code is there once."""
    implementation: Implementation
    choice: int
    """What was decided for the workload, by its place in `Functions.choices`."""


class Functions:
    """Generates code; workloads of equal key share it."""

    def __init__(self, target: AnyTarget, chooser: Chooser, failures: Failures) -> None:
        """Kernels with `failures` are not taken again."""
        self.choices: list[Choice] = []
        self._target, self._chooser, self._failures = target, chooser, failures
        self._backend = target.backend()
        self._builder = relax.BlockBuilder()
        self._codes: dict[str, Code] = {}

    def code(self, workload: Workload) -> Code:
        """The code of a workload: of a kernel chosen for it, if it was not met before."""
        return self._codes.get(workload.key()) or self._generate(workload)

    def add_plain(
        self, inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor], name: str
    ) -> tvm.ir.GlobalVar:
        """Add a function that computes `outputs`, which are no workload's, as the device can run it."""
        return self.add(self._backend.plain(inputs, scalars, outputs), name)

    def add_main(self, function: relax.Function) -> None:
        """Add the function of the model."""
        self._builder.add_func(function, MAIN)

    def add(self, func: tirx.PrimFunc, name: str) -> tvm.ir.GlobalVar:
        """Add a function under this name, unless the same code is there already."""
        return self._builder.add_func(func.without_attr("global_symbol"), name)

    def module(self) -> tvm.IRModule:
        """All that was added."""
        if not self._codes:
            # A module of VM instructions alone is not exported by TVM.
            self.add(tirx.PrimFunc([], tirx.Evaluate(0)), "nothing")
        return self._builder.get()

    def _generate(self, workload: Workload) -> Code:
        selected = select(workload, self._target, self._chooser, self._failures)
        chosen, implementation = selected.candidate, selected.implementation
        name = f"{chosen.kernel.name}_{workload.kind.removeprefix('onnx.')}_{len(self._codes)}"
        function = self.add(implementation.func, identifier(name))
        code = self._codes[workload.key()] = Code(function, implementation, len(self.choices))
        failed = tuple(self._failures.of(workload.key()).items())
        self.choices.append(
            Choice(
                function.name_hint, workload.kind, workload.key(), chosen.kernel.name, str(chosen.point),
                chosen.estimate, tuple(selected.refusals), selected.candidates,
                selected.rivals, failed,
            )
        )  # fmt: skip
        return code
