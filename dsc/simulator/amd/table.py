"""The table of a module's kernels, as the core reads it (SimulatorModule, native/device/abi.h)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dsc.simulator.amd.ir import Function
from dsc.simulator.amd.types import type_at

ABI = 4
"""SIMULATOR_ABI."""
_KERNEL = "{ ptr, ptr, i32, i32, ptr }"
_GROUP_SIZE = re.compile(r'"amdgpu-flat-work-group-size"="\d+,(\d+)"')


def kernel_table(functions: Sequence[Function], checks: bool) -> str:
    """The table, and for each kernel a function that takes its arguments by their addresses."""
    kernels = [function for function in functions if function.is_kernel]
    rows = [
        f"{_KERNEL} {{ ptr @simulator.name.of.{each.name}, ptr @simulator.run.{each.name}, "
        f"i32 {len(each.parameters)}, i32 {_most_threads(each)}, ptr @simulator.bytes.of.{each.name} }}"
        for each in kernels
    ]
    return "\n".join(
        [
            *(_name(each.name) for each in kernels),
            *map(_argument_bytes, kernels),
            *map(_runner, kernels),
            f"@simulator.kernels = internal constant [{len(rows)} x {_KERNEL}] [{', '.join(rows)}]",
            "@simulator_module = constant { i32, i32, ptr, i32 } "
            f"{{ i32 {ABI}, i32 {int(checks)}, ptr @simulator.kernels, i32 {len(rows)} }}",
        ]
    )


def _most_threads(kernel: Function) -> int:
    """What LLVM was promised, or 0."""
    match = _GROUP_SIZE.search(kernel.attributes)
    return int(match[1]) if match else 0


def _name(kernel: str) -> str:
    return f'@simulator.name.of.{kernel} = private constant [{len(kernel) + 1} x i8] c"{kernel}\\00"'


def _argument_bytes(kernel: Function) -> str:
    """The size of each argument, and a zero, as there may be none."""
    sizes = [f"i32 ptrtoint (ptr getelementptr ({type}, ptr null, i32 1) to i32)" for type in _arguments(kernel)]
    values = ", ".join([*sizes, "i32 0"])
    return f"@simulator.bytes.of.{kernel.name} = private constant [{len(sizes) + 1} x i32] [{values}]"


def _arguments(kernel: Function) -> list[str]:
    return ["ptr" if each.startswith("ptr") else type_at(each) for each in kernel.parameters]


def _runner(kernel: Function) -> str:
    """Calls a kernel with its arguments."""
    types = _arguments(kernel)
    lines = [f"define internal void @simulator.run.{kernel.name}(ptr %arguments) #0 {{"]
    for i, type in enumerate(types):
        lines += [
            f"  %place.{i} = getelementptr ptr, ptr %arguments, i64 {i}",
            f"  %address.{i} = load ptr, ptr %place.{i}",
            f"  %value.{i} = load {type}, ptr %address.{i}",
        ]
    given = ", ".join(f"{type} %value.{i}" for i, type in enumerate(types))
    return "\n".join([*lines, f"  call void @{kernel.name}({given})", "  ret void", "}"])
