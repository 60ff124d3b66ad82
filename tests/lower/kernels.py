"""Kernels compiled as they are in a model: by the project's own list of passes."""

from __future__ import annotations

import tvm

from dsc.codegen.objects import compile_kernels


def compiled(module: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    """The module of all functions of `module`, which are found in it by name."""
    named = {var.name_hint: func.with_attr("global_symbol", var.name_hint) for var, func in module.functions.items()}
    return compile_kernels(tvm.IRModule(named), target)
