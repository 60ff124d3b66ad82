"""What the lanes of a warp and the threads of a block do together."""

from __future__ import annotations

import re

from dsc.simulator.ptx.rules import Rendered, Rule, members, put, rule, single, take
from dsc.simulator.ptx.types import CPP

_SHUFFLES = {"up": "UP", "down": "DOWN", "bfly": "XOR", "idx": "INDEX"}


def _shuffle(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value, operand, clamp, mask = operands
    first, *inside = members(to)
    arguments = ", ".join(
        [
            take("uint32_t", single(mask)),
            f"SIMULATOR_SHUFFLE_{_SHUFFLES[match['how']]}",
            take("uint32_t", single(value)),
            take("int32_t", single(operand)),
            take("uint32_t", single(clamp)),
            "&inside",
        ]
    )
    told = "".join(put("bool", register, "inside") for register in inside)
    return f"{{ bool inside; {put('uint32_t', first, f'simulator_shuffle({arguments})')} {told} }}"


def _vote(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, predicate, mask = map(single, operands)
    lanes = take("uint32_t", mask)
    ballot = f"simulator_ballot({lanes}, {predicate})"
    if match["how"] == "ballot":
        return put("uint32_t", to, ballot) if match["type"] == "b32" else None
    if match["type"] != "pred":
        return None
    none = f"simulator_ballot({lanes}, !({predicate})) == 0"
    values = {
        "any": f"{ballot} != 0",
        "all": none,
        "uni": f"simulator_ptx::is_uniform({lanes}, {predicate})",
    }
    return put("bool", to, values[match["how"]])


def _match_any(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value, mask = map(single, operands)
    bits = take(CPP[match["type"]], value)
    return put("uint32_t", to, f"simulator_match_any({take('uint32_t', mask)}, {bits})")


def _match_all(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value, mask = operands
    first, *told = members(to)
    bits = take(CPP[match["type"]], single(value))
    result = put("uint32_t", first, f"simulator_match_all({take('uint32_t', single(mask))}, {bits}, &all)")
    return f"{{ int all; {result} {''.join(put('bool', register, 'all != 0') for register in told)} }}"


def _reduce(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value, mask = map(single, operands)
    is_signed = "true" if match["type"] == "s32" else "false"
    arguments = f"{take('uint32_t', mask)}, SIMULATOR_{match['how'].upper()}, {is_signed}, {take('uint32_t', value)}"
    return put("uint32_t", to, f"simulator_reduce({arguments})")


def _active(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return put("uint32_t", single(operands[0]), "simulator_active_mask()")


def _elect(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """The lowest lane of the mask."""
    to, mask = operands
    first, *told = members(to)
    lanes = take("uint32_t", single(mask))
    elected = f"const uint32_t elected = __builtin_ctz(simulator_ballot({lanes}, true));"
    is_elected = "".join(put("bool", register, "simulator_lane() == elected") for register in told)
    return f"{{ {elected} {put('uint32_t', first, 'elected')} {is_elected} }}"


def _warp_barrier(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return f"simulator_warp_barrier({take('uint32_t', single(operands[0]))});"


def _barrier(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """Only barrier 0 of the whole block."""
    return "simulator_barrier(__LINE__, 0, 0);" if operands == ["0LL"] else None


RULES: tuple[Rule, ...] = (
    rule(rf"shfl\.sync\.(?P<how>{'|'.join(_SHUFFLES)})\.b32", _shuffle),
    rule(r"vote\.sync\.(?P<how>all|any|uni|ballot)\.(?P<type>pred|b32)", _vote),
    rule(r"match\.any\.sync\.(?P<type>b32|b64)", _match_any),
    rule(r"match\.all\.sync\.(?P<type>b32|b64)", _match_all),
    rule(r"redux\.sync\.(?P<how>add|min|max)\.(?P<type>s32|u32)", _reduce),
    rule(r"redux\.sync\.(?P<how>and|or|xor)\.(?P<type>b32)", _reduce),
    rule(r"activemask\.b32", _active),
    rule(r"elect\.sync", _elect),
    rule(r"bar\.warp\.sync", _warp_barrier),
    rule(r"(?:bar|barrier)(?:\.cta)?\.sync(?:\.aligned)?", _barrier),
)
