"""LLVM's intrinsics for AMD's processors, each with what takes its place on the host.

A row is a pattern of names and a function from a call to instructions. What has no row is an error: nothing is guessed.
Intrinsics of all targets (`llvm.fma.f32`) are LLVM's own business, but for those that copy or fill memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from dsc.simulator.amd.ir import Call
from dsc.simulator.amd.matrix import matrix

Replacement: TypeAlias = Callable[[Call, "re.Match[str]"], list[str]]

DECLARATIONS = """
declare i32 @simulator_amd_workitem(i32) memory(none)
declare i32 @simulator_amd_workgroup(i32) memory(none)
declare void @simulator_amd_barrier(i32, i32)
declare void @simulator_amd_load(ptr, i64, i64)
declare void @simulator_amd_store(ptr, i64, i64)
declare void @simulator_amd_atomic(ptr, i64)
declare void @simulator_amd_copy(ptr, ptr, i64)
declare void @simulator_amd_fill(ptr, i8, i64)
declare i32 @simulator_amd_count_below(i32, i32, i32) memory(none)
declare i32 @simulator_amd_bpermute(i32, i32, i32)
declare i32 @simulator_amd_permute(i32, i32, i32)
declare i32 @simulator_amd_swizzle(i32, i32, i32)
declare i32 @simulator_amd_dpp(i32, i32, i32, i32, i32, i32, i32)
declare i32 @simulator_amd_read_lane(i32, i32, i32)
declare i32 @simulator_amd_read_first_lane(i32, i32)
declare i32 @simulator_amd_dot4(i32, i32, i32, i32, i32, i32)
declare void @simulator_amd_matrix(i32, ptr, ptr, ptr, ptr, ptr)
declare ptr @simulator_shared_variable(i32, i64, i64, ptr) memory(none)
declare ptr @simulator_dynamic_shared(i64) memory(none)
"""
"""The functions of the core: native/device/amd.h and abi.h."""

_AXES = "xyz"
_FLOATS = {"f16": "half", "f32": "float", "f64": "double"}
_MASKS = range(0x8000)
"""Patterns of ds_swizzle that permute 32 lanes; others permute four."""
_DPP = ((0x00, 0xFF), (0x101, 0x10F), (0x111, 0x11F), (0x121, 0x12F), (0x140, 0x143), (0x150, 0x16F))
"""Controls that are known: quad_perm; row_shl, shr and ror; mirrors and broadcasts; row_share and row_xmask."""


def replaced(call: Call) -> list[str] | None:
    """The instructions in place of a call of an intrinsic; None for what stays as it is.

    Raises ValueError, with a reason, for what has no meaning here.
    """
    for pattern, replacement in _ROWS:
        if match := re.fullmatch(pattern, call.name):
            return replacement(call, match)
    if call.name.startswith(("llvm.amdgcn.", "llvm.r600.", "llvm.mem", "llvm.masked.")):
        raise ValueError(f"the simulator does not know {call.name}")
    return None


def _host(name: str, *leading: int, line: bool = False) -> Replacement:
    """A function of the core, with these numbers (the number of the line first, if asked for) before the arguments."""

    def replacement(call: Call, _: re.Match[str]) -> list[str]:
        numbers = [call.line, *leading] if line else leading
        return [call.of(name, [*(f"i32 {number}" for number in numbers), *call.arguments])]

    return replacement


def _index(name: str) -> Replacement:
    def replacement(call: Call, match: re.Match[str]) -> list[str]:
        return [call.of(name, [f"i32 {_AXES.index(match[1])}"])]

    return replacement


def _swizzle(call: Call, _: re.Match[str]) -> list[str]:
    bits, pattern = call.arguments
    number = _literal(pattern)
    if number not in _MASKS and number >> 8 != 0x80:
        raise ValueError(f"the simulator does not know ds_swizzle with pattern {number:#x}")
    return [call.of("simulator_amd_swizzle", [f"i32 {call.line}", bits, pattern])]


def _dpp(call: Call, _: re.Match[str]) -> list[str]:
    """`mov` has no value for lanes that get none: what it moves, as good as any."""
    bits, control, row_mask, bank_mask, bound_control = call.arguments[-5:]
    old = call.arguments[0]
    number = _literal(control)
    if not any(first <= number <= last for first, last in _DPP):
        raise ValueError(f"the simulator does not know DPP control {number:#x}")
    given = [f"i32 {call.line}", old, bits, control, row_mask, bank_mask, _flag(bound_control)]
    return [call.of("simulator_amd_dpp", given)]


def _dot4(call: Call, match: re.Match[str]) -> list[str]:
    if match[1] == "su":
        a_signed, a, b_signed, b, total, saturates = call.arguments
        signs = [_flag(a_signed), _flag(b_signed)]
    else:
        a, b, total, saturates = call.arguments
        signs = [f"i32 {int(match[1] == 's')}"] * 2
    return [call.of("simulator_amd_dot4", [signs[0], a, signs[1], b, total, _flag(saturates)])]


def _copy(call: Call, match: re.Match[str]) -> list[str]:
    """A copy or a fill of so many bytes."""
    to, source, count, _ = call.arguments
    name = "simulator_amd_fill" if match[1] == "set" else "simulator_amd_copy"
    plain = [re.sub(r"\b(?:align \d+|nonnull|noundef|captures\(none\)) ?", "", each) for each in (to, source)]
    if not count.startswith("i32"):
        return [call.of(name, [*plain, count])]
    register = f"%simulator.count.{call.line}"
    return [f"{register} = zext {count} to i64", call.of(name, [*plain, f"i64 {register}"])]


def _reciprocal(call: Call, match: re.Match[str]) -> list[str]:
    """Exact, as approximations are here."""
    return [f"{call.result} = fdiv {_FLOATS[match[1]]} 1.0, {_value(call.arguments[0])}"]


def _reciprocal_root(call: Call, match: re.Match[str]) -> list[str]:
    type, root = _FLOATS[match[1]], f"%simulator.root.{call.line}"
    return [
        f"{root} = call {type} @llvm.sqrt.{match[1]}({call.arguments[0]})",
        f"{call.result} = fdiv {type} 1.0, {root}",
    ]


def _standard(name: str) -> Replacement:
    """The intrinsic of all targets that is meant."""

    def replacement(call: Call, match: re.Match[str]) -> list[str]:
        return [call.of(f"llvm.{name}.{match[1]}", call.arguments)]

    return replacement


def _nothing(call: Call, _: re.Match[str]) -> list[str]:
    """Hints about the order of instructions, which is no one's business here."""
    return []


def _literal(argument: str) -> int:
    """The number that an argument is. Raises ValueError where it is none."""
    return int(argument.split()[-1])


def _value(argument: str) -> str:
    return argument.split()[-1]


def _flag(argument: str) -> str:
    """A constant of one bit as the core takes it. Raises ValueError where it is none."""
    return f"i32 {('false', 'true').index(_value(argument))}"


_ROWS: Sequence[tuple[str, Replacement]] = (
    (r"llvm\.amdgcn\.workitem\.id\.([xyz])", _index("simulator_amd_workitem")),
    (r"llvm\.amdgcn\.workgroup\.id\.([xyz])", _index("simulator_amd_workgroup")),
    (r"llvm\.amdgcn\.mbcnt\.lo", _host("simulator_amd_count_below", 0)),
    (r"llvm\.amdgcn\.mbcnt\.hi", _host("simulator_amd_count_below", 1)),
    (r"llvm\.amdgcn\.ds\.bpermute", _host("simulator_amd_bpermute", line=True)),
    (r"llvm\.amdgcn\.ds\.permute", _host("simulator_amd_permute", line=True)),
    (r"llvm\.amdgcn\.ds\.swizzle", _swizzle),
    (r"llvm\.amdgcn\.(?:update|mov)\.dpp\.i32", _dpp),
    (r"llvm\.amdgcn\.readlane(?:\.i32)?", _host("simulator_amd_read_lane", line=True)),
    (r"llvm\.amdgcn\.readfirstlane(?:\.i32)?", _host("simulator_amd_read_first_lane", line=True)),
    (r"llvm\.amdgcn\.(s|u|su)dot4", _dot4),
    (r"llvm\.amdgcn\.rcp\.(f16|f32|f64)", _reciprocal),
    (r"llvm\.amdgcn\.rsq\.(f16|f32|f64)", _reciprocal_root),
    (r"llvm\.amdgcn\.sqrt\.(f16|f32|f64)", _standard("sqrt")),
    (r"llvm\.amdgcn\.exp2\.(f16|f32)", _standard("exp2")),
    (r"llvm\.amdgcn\.log\.(f16|f32)", _standard("log2")),
    (r"llvm\.amdgcn\.(?:mfma|wmma)\..*", matrix),
    (r"llvm\.amdgcn\.(?:sched\..*|s\.setprio|iglp\.opt|s\.sleep|s\.nop)", _nothing),
    (r"llvm\.mem(cpy|move|set)\.(?:p\d\.)+i(?:32|64)", _copy),
)
