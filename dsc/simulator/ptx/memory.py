"""Loads, stores, atomics, and copies from global to shared memory."""

from __future__ import annotations

import re

from dsc.simulator.ptx.rules import Rendered, Rule, members, put, rule, single, take
from dsc.simulator.ptx.types import CPP

_TYPES = "|".join(name for name in CPP if name != "pred")
_SPACE = r"(?:\.(?P<space>global|shared(?:::cta)?|const|local))?"
_ORDER = r"(?:\.(?:weak|volatile|relaxed\.\w+|acquire\.\w+|release\.\w+))?"
_HINTS = r"(?:\.(?:nc|ca|cg|cs|lu|cv|wb|wt|L1::\w+|L2::\w+))*"
_VECTOR = r"(?:\.v(?P<count>2|4|8))?"


def _pointer(space: str | None, address: str) -> str:
    """The generic address of one in a space; without a space it is generic already."""
    if space and space.startswith("shared"):
        return f"simulator_shared_pointer(static_cast<uint32_t>({address}))"
    return f"simulator_ptx::generic({address})"


def _load(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, address, *_ = operands
    registers, cpp = members(to), CPP[match["type"]]
    if len(registers) != int(match["count"] or 1):
        return None
    get = "".join(put(cpp, register, f"loaded[{i}]") for i, register in enumerate(registers))
    pointer = _pointer(match["space"], single(address))
    return f"{{ {cpp} loaded[{len(registers)}]; simulator_load(loaded, {pointer}, sizeof(loaded)); {get} }}"


def _store(match: re.Match[str], operands: list[Rendered]) -> str | None:
    address, value, *_ = operands
    registers, cpp = members(value), CPP[match["type"]]
    if len(registers) != int(match["count"] or 1):
        return None
    values = ", ".join(take(cpp, register) for register in registers)
    pointer = _pointer(match["space"], single(address))
    return f"{{ {cpp} stored[] = {{{values}}}; simulator_store({pointer}, stored, sizeof(stored)); }}"


_ATOMICS = {
    "add": "atomicAdd",
    "add.noftz": "atomicAdd",
    "min": "atomicMin",
    "max": "atomicMax",
    "and": "atomicAnd",
    "or": "atomicOr",
    "xor": "atomicXor",
    "exch": "atomicExch",
    "inc": "atomicInc",
    "dec": "atomicDec",
    "cas": "atomicCAS",
}
_ATOMIC_ORDER = r"(?:\.(?:relaxed|acquire|release|acq_rel))?(?:\.(?:cta|gpu|sys|cluster))?"
_ATOMIC_TYPES = "[bus]32|[bus]64|f32|f64|f16|bf16"


def _atomic(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to = [] if match["kind"] == "red" else [single(operands[0])]
    address, *values = map(single, operands[len(to) :])
    if len(values) != (2 if match["op"] == "cas" else 1):
        return None
    cpp = CPP[match["type"]]
    pointer = f"static_cast<{cpp} *>({_pointer(match['space'], address)})"
    call = f"{_ATOMICS[match['op']]}({', '.join([pointer, *(take(cpp, value) for value in values)])})"
    return put(cpp, to[0], call) if to else f"{call};"


def _copy(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """``[to], [from], size{, bytes that are read}{, cache policy}``; the rest of the size is filled with zeros."""
    to, source, size, *more = map(single, operands)
    if match["hinted"]:
        more = more[:-1]
    if len(more) > 1 or (match["level"] == "cg" and size != "16LL"):
        return None
    read = f"simulator_ptx::bytes_read({more[0]}, {size})" if more else size
    shared = f"static_cast<uint32_t>({to})"
    return f"simulator_async_copy({shared}, simulator_ptx::generic({source}), {size}, {read});"


def _commit(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return "simulator_async_commit();"


def _wait(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return f"simulator_async_wait({single(operands[0])});"


def _wait_all(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return "simulator_async_commit(); simulator_async_wait(0);"


def _nothing(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """Hints, and orders of memory, which is in order here; a fence does not replace a barrier and is none here."""
    return ";"


def _proxy(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """What the thread wrote is for instructions that go past ordinary accesses."""
    return "simulator_proxy_fence();"


def _policy(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return put("uint64_t", single(operands[0]), "uint64_t{0}")


RULES: tuple[Rule, ...] = (
    rule(rf"ld{_ORDER}{_SPACE}{_HINTS}{_VECTOR}\.(?P<type>{_TYPES})", _load),
    rule(rf"st{_ORDER}{_SPACE}{_HINTS}{_VECTOR}\.(?P<type>{_TYPES})", _store),
    rule(
        rf"(?P<kind>atom|red){_ATOMIC_ORDER}{_SPACE}{_ATOMIC_ORDER}\.(?P<op>{'|'.join(map(re.escape, _ATOMICS))})"
        rf"\.(?P<type>{_ATOMIC_TYPES})",
        _atomic,
    ),
    rule(
        r"cp\.async\.(?P<level>ca|cg)\.shared(?:::cta)?\.global(?P<hinted>\.L2::cache_hint)?(?:\.L2::\d+B)?",
        _copy,
    ),
    rule(r"cp\.async\.commit_group", _commit),
    rule(r"cp\.async\.wait_group", _wait),
    rule(r"cp\.async\.wait_all", _wait_all),
    rule(r"prefetch(?:\.global|\.local)?\.L[12](?:::\w+)?|prefetchu\.L1", _nothing),
    rule(r"membar\.(?:cta|gl|sys)|fence(?:\.sc|\.acq_rel)?\.(?:cta|gpu|sys|cluster)", _nothing),
    rule(r"fence\.proxy\.async(?:\.shared::cta)?", _proxy),
    rule(r"createpolicy\.fractional\.L2::\w+(?:\.L2::\w+)?\.b64", _policy),
)
