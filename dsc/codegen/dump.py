"""The stages of each kernel's code, written to files for people to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import tvm
from tvm import tirx

from dsc.errors import UsageError
from dsc.files import writing
from dsc.targets.backend import Backend

KernelObserver: TypeAlias = Callable[[str, tirx.PrimFunc, tvm.IRModule, tvm.runtime.Module], None]
"""Told of each function that was compiled: its name, the function as it was scheduled and as it was lowered, its
code. Several threads call it at once."""

FOLDER = "kernels"


def dump_kernels(directory: Path, backend: Backend) -> KernelObserver:
    """An observer that writes `NAME.tir`, `NAME.lowered.tir` and `NAME.s`, the assembly, to `directory/kernels`."""
    folder = directory / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}") from error

    def observe(name: str, func: tirx.PrimFunc, lowered: tvm.IRModule, code: tvm.runtime.Module) -> None:
        texts = {"tir": func.script(), "lowered.tir": lowered.script(), "s": backend.assembly(code)}
        for kind, text in texts.items():
            with writing(folder / f"{name}.{kind}") as file:
                file.write(text.encode())

    return observe
