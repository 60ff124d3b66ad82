"""Instructions of tensor cores, and what feeds them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsc.simulator.ptx.rules import Rendered, Rule, members, put, rule, single, take

_PER_REGISTER = {"f16": 2, "bf16": 2, "tf32": 1, "f32": 1, "s8": 4, "u8": 4, "s32": 1}
_WARP = 32


@dataclass(frozen=True)
class Mma:
    """One mma.sync: shape and types of the operands; d and c are of one type."""

    m: int
    n: int
    k: int
    a: str
    b: str
    c: str
    saturates: bool = False
    products: int = 1
    """How many the warp computes at once: m8n8k4 four."""

    def registers(self, rows: int, columns: int, type: str) -> int:
        """Of a lane, for an operand of this size."""
        return rows * columns * self.products // _WARP // _PER_REGISTER[type]


def _floats() -> list[Mma]:
    rows = [Mma(16, 8, k, "f16", "f16", c) for k in (8, 16) for c in ("f16", "f32")]
    rows += [Mma(16, 8, k, "bf16", "bf16", "f32") for k in (8, 16)]
    rows += [Mma(16, 8, k, "tf32", "tf32", "f32") for k in (4, 8)]
    return rows + [Mma(8, 8, 4, "f16", "f16", c, products=4) for c in ("f16", "f32")]


def _integers() -> list[Mma]:
    shapes = ((8, 8, 16), (16, 8, 16), (16, 8, 32))
    types = [(a, b) for a in ("s8", "u8") for b in ("s8", "u8")]
    return [Mma(*shape, a, b, "s32", saturates) for shape in shapes for a, b in types for saturates in (False, True)]


MMAS = (*_floats(), *_integers())
"""All that are known; core/mma.cpp has a row for each."""


def _find(match: re.Match[str]) -> Mma | None:
    if match["c"] != match["d"]:
        return None
    shape = tuple(int(match[letter]) for letter in "mnk")
    wanted = (*shape, match["a"], match["b"], match["c"], bool(match["saturates"]))
    return next(
        (each for each in MMAS if (each.m, each.n, each.k, each.a, each.b, each.c, each.saturates) == wanted), None
    )


def _mma(match: re.Match[str], operands: list[Rendered]) -> str | None:
    found = _find(match)
    if found is None or len(operands) != 4:
        return None
    d, a, b, c = map(members, operands)
    sizes = {
        "a": (a, found.registers(found.m, found.k, found.a)),
        "b": (b, found.registers(found.k, found.n, found.b)),
        "c": (c, found.registers(found.m, found.n, found.c)),
        "d": (d, found.registers(found.m, found.n, found.c)),
    }
    if any(len(registers) != wanted for registers, wanted in sizes.values()):
        return None
    types = ", ".join(f"SIMULATOR_{type.upper()}" for type in (found.a, found.b, found.c, found.c))
    shape = f"{found.m}, {found.n}, {found.k}, {types}, {str(found.saturates).lower()}"
    arrays = "".join(
        f"const uint32_t {name}[] = {{{', '.join(take('uint32_t', register) for register in sizes[name][0])}}};"
        for name in "abc"
    )
    results = "".join(put("uint32_t", register, f"d[{i}]") for i, register in enumerate(d))
    call = f"uint32_t d[{len(d)}]; simulator_mma(&shape, a, b, c, d);"
    return f"{{ static constexpr SimulatorMma shape = {{{shape}}}; {arrays} {call} {results} }}"


SPARSE_MMAS = (
    *(Mma(16, 8, k, element, element, "f32") for element in ("f16", "bf16") for k in (16, 32)),
    *(Mma(16, 8, 64, a, b, "s32") for a in ("s8", "u8") for b in ("s8", "u8")),
)
"""All of mma.sp that are known, of whose left operand half is in registers; core/mma.cpp has a row for each."""


def _sparse_mma(match: re.Match[str], operands: list[Rendered]) -> str | None:
    wanted = (*(int(match[letter]) for letter in "mnk"), match["a"], match["b"], match["c"])
    found = next((each for each in SPARSE_MMAS if (each.m, each.n, each.k, each.a, each.b, each.c) == wanted), None)
    if found is None or match["c"] != match["d"] or len(operands) != 6:
        return None
    d, a, b, c = map(members, operands[:4])
    sizes = (
        (a, found.registers(found.m, found.k // 2, found.a)),
        (b, found.registers(found.k, found.n, found.b)),
        (c, found.registers(found.m, found.n, found.c)),
        (d, found.registers(found.m, found.n, found.c)),
    )
    if any(len(registers) != count for registers, count in sizes):
        return None
    types = ", ".join(f"SIMULATOR_{type.upper()}" for type in (found.a, found.b, found.c, found.c))
    shape = f"{found.m}, {found.n}, {found.k}, {types}, false"
    arrays = "".join(
        f"const uint32_t {name}[] = {{{', '.join(take('uint32_t', register) for register in registers)}}};"
        for name, registers in zip("abc", (a, b, c), strict=True)
    )
    metadata, selector = (take("uint32_t", single(operand)) for operand in operands[4:])
    results = "".join(put("uint32_t", register, f"d[{i}]") for i, register in enumerate(d))
    call = f"uint32_t d[{len(d)}]; simulator_mma_sp(&shape, a, b, c, {metadata}, {selector}, d);"
    return f"{{ static constexpr SimulatorMma shape = {{{shape}}}; {arrays} {call} {results} }}"


def _load_matrix(match: re.Match[str], operands: list[Rendered]) -> str | None:
    registers, address = members(operands[0]), single(operands[1])
    count = int(match["count"])
    if len(registers) != count:
        return None
    transposed = "true" if match["transposed"] else "false"
    results = "".join(put("uint32_t", register, f"rows[{i}]") for i, register in enumerate(registers))
    call = f"simulator_ldmatrix({count}, {transposed}, static_cast<uint32_t>({address}), rows);"
    return f"{{ uint32_t rows[{count}]; {call} {results} }}"


def _store_matrix(match: re.Match[str], operands: list[Rendered]) -> str | None:
    address, registers = single(operands[0]), members(operands[1])
    count = int(match["count"])
    if len(registers) != count:
        return None
    transposed = "true" if match["transposed"] else "false"
    values = ", ".join(take("uint32_t", register) for register in registers)
    call = f"simulator_stmatrix({count}, {transposed}, static_cast<uint32_t>({address}), rows);"
    return f"{{ const uint32_t rows[] = {{{values}}}; {call} }}"


_TRANSPOSED = r"(?P<transposed>\.trans)?"
RULES: tuple[Rule, ...] = (
    rule(
        r"mma\.sync\.aligned\.m(?P<m>\d+)n(?P<n>\d+)k(?P<k>\d+)\.row\.col(?P<saturates>\.satfinite)?"
        r"\.(?P<d>\w+)\.(?P<a>\w+)\.(?P<b>\w+)\.(?P<c>\w+)",
        _mma,
    ),
    rule(
        r"mma\.sp::ordered_metadata\.sync\.aligned\.m(?P<m>\d+)n(?P<n>\d+)k(?P<k>\d+)\.row\.col"
        r"\.(?P<d>\w+)\.(?P<a>\w+)\.(?P<b>\w+)\.(?P<c>\w+)",
        _sparse_mma,
    ),
    rule(rf"ldmatrix\.sync\.aligned\.m8n8\.x(?P<count>[124]){_TRANSPOSED}(?:\.shared(?:::cta)?)\.b16", _load_matrix),
    rule(rf"stmatrix\.sync\.aligned\.m8n8\.x(?P<count>[124]){_TRANSPOSED}(?:\.shared(?:::cta)?)\.b16", _store_matrix),
)
