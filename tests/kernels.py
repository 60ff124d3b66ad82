"""Kernels compiled as they are in a model: by the backend's own list of passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import tvm
from tvm import tirx

from dsc.codegen.objects import compile_kernels
from dsc.targets import target
from dsc.targets.backend import Backend
from dsc.targets.cpu.machine import Cpu


def machine(name: str = "x86") -> Cpu:
    """The CPU of that name."""
    found = target(name).machine
    assert isinstance(found, Cpu)
    return found


def with_lane_operands(lanes: int) -> Cpu:
    """This host (AVX2 of it), as if its products took lanes of registers as Arm's do, and its vectors had so many."""
    host = machine("x86:haswell")
    rows = tuple(row for row in host.multiply_adds("float32", "float32", "float32") if row.n <= lanes)
    return replace(
        host, name=f"x86 with {lanes} lanes as operands", lane_operand=True, vector_bits=32 * lanes,
        vector_registers=32, instructions=rows,
    )  # fmt: skip


def compiled_library(functions: Mapping[str, tirx.PrimFunc], backend: Backend) -> tvm.runtime.Module:
    """All of `functions` in one module, where each is found by its name."""
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    return compile_kernels(tvm.IRModule(named), backend)


def compiled(func: tirx.PrimFunc, backend: Backend) -> tvm.runtime.Function:
    """One function by itself."""
    return compiled_library({"kernel": func}, backend)["kernel"]
