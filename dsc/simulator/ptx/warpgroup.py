"""wgmma: products that the four warps of a warpgroup start together and wait for later."""

from __future__ import annotations

import re

from dsc.simulator.ptx.rules import Rendered, Rule, members, rule, single, take

_MOST_COLUMNS = 256


def _product(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """``{d}, a, b, whether to add, sign of a, sign of b, whether a and b are transposed``; both are descriptors."""
    registers, (a, b, adds, *given) = members(operands[0]), map(single, operands[1:])
    n = int(match["n"])
    if n % 8 or n > _MOST_COLUMNS or len(registers) != n // 2 or len(given) != 4:
        return None
    sign_a, sign_b, *transposed = given
    if not {sign_a, sign_b} <= {"1LL", "-1LL"} or not set(transposed) <= {"0LL", "1LL"}:
        return None
    given = [sign_a, sign_b, *(f"{each} != 0" for each in transposed)]
    shape = ", ".join([str(n), f"SIMULATOR_{match['type'].upper()}", *given])
    pointers = ", ".join(f"&{register}" for register in registers)
    descriptors = f"{take('uint64_t', a)}, {take('uint64_t', b)}"
    return (
        f"{{ static constexpr SimulatorWgmma shape = {{{shape}}}; float *const d[] = {{{pointers}}}; "
        f"simulator_wgmma(&shape, {descriptors}, {adds}, d); }}"
    )


def _fence(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return "simulator_wgmma_fence();"


def _commit(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return "simulator_wgmma_commit();"


def _wait(match: re.Match[str], operands: list[Rendered]) -> str | None:
    return f"simulator_wgmma_wait({single(operands[0])});"


RULES: tuple[Rule, ...] = (
    rule(r"wgmma\.mma_async\.sync\.aligned\.m64n(?P<n>\d+)k16\.f32\.(?P<type>f16|bf16)\.(?P=type)", _product),
    rule(r"wgmma\.fence\.sync\.aligned", _fence),
    rule(r"wgmma\.commit_group\.sync\.aligned", _commit),
    rule(r"wgmma\.wait_group\.sync\.aligned", _wait),
)
