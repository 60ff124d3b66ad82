"""Kernels compiled as they are in a model: by the project's own list of passes."""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import tirx

from dsc.codegen.objects import compile_kernels


def compiled_library(functions: Mapping[str, tirx.PrimFunc], target: tvm.target.Target) -> tvm.runtime.Module:
    """All of `functions` in one module, where each is found by its name."""
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    return compile_kernels(tvm.IRModule(named), target)


def compiled(func: tirx.PrimFunc, target: tvm.target.Target) -> tvm.runtime.Function:
    """One function by itself."""
    return compiled_library({"kernel": func}, target)["kernel"]
