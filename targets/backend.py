"""The contract of a backend: from scheduled functions to what a device runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import tvm
from tvm import te, tirx

from dsc.needs import Needs
from dsc.targets.resources import KernelResources

ON_HOST = "dsc.on_host"
"""Attribute of functions whose tensors are in the host's memory, whatever the target is."""


class Backend(Protocol):
    """Makes code for one machine. `dsc.codegen` calls it for each kernel, several at once."""

    @property
    def needs(self) -> tuple[Needs, ...]:
        """What an artifact asks of where it runs: the host first, and last the device that runs kernels."""
        ...

    @property
    def target(self) -> tvm.target.Target:
        """The target that TVM binds to functions, with its host."""
        ...

    def require_tools(self) -> None:
        """Raises `UsageError`, saying what to install, where a tool is missing: before the work, not after it."""
        ...

    def plain(
        self, inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor]
    ) -> tirx.PrimFunc:
        """The function of `inputs`, `scalars` and `outputs` of what is no workload, as the device can run it: checks of
        indices."""
        ...

    def lower(self, module: tvm.IRModule) -> tvm.IRModule:
        """Scheduled functions, each with the attribute `global_symbol`, as what code is generated from; those of the
        host and those of the device apart."""
        ...

    def generate(self, lowered: tvm.IRModule) -> tvm.runtime.Module:
        """The code of what `lower` made: the host's as an LLVM module, which imports the device's."""
        ...

    def pack(self, imports: bytes) -> bytes:
        """What the host's code imports, as TVM serialized it, in the form in which it is loaded: device code that
        `generate` made as text may be the machine's there."""
        ...

    def assembly(self, code: tvm.runtime.Module) -> str:
        """The instructions that `generate` made, or the nearest text to them, for reading."""
        ...

    def resources(self, lowered: tvm.IRModule, code: tvm.runtime.Module) -> tuple[KernelResources, ...]:
        """What each launch takes of the device's cores, where its compiler tells; `code` is what `generate` made of
        `lowered`."""
        ...

    def link(self, objects: Sequence[Path], output: Path) -> None:
        """The shared library of the host's object files, with what launches kernels. Raises `UsageError`."""
        ...
