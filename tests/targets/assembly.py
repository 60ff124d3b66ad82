"""Reading the assembly of kernels."""

from __future__ import annotations

import re

_LABEL = re.compile(r"^(\.LBB\w+):")
_JUMP = re.compile(r"^\tj\w+\s+(\.LBB\w+)")
_FUSED = re.compile(r"(fn?m(?:add|sub))(?:132|213)")
_ARITHMETIC = re.compile(
    r"v?(fn?m(add|sub)\d{3}|add|sub|mul|div|max|min|sqrt)p[sd]"
    r"|v?p(add|sub|sll|sra|srl)[wdq]|v?pmaddwd|vpdp\w+|vdpbf16ps"
)
_SCALAR = re.compile(r"v?(fn?m(add|sub)\d{3}|add|sub|mul|div|max|min|sqrt)s[sd]")
_ZEROED = re.compile(r"v?p?xor\w*\s+(%\w+), \1(, %\w+)?$")
_STACK = re.compile(r"[\s,]-?\w*\(%rsp\)")


def innermost_loops(assembly: str, mnemonic: str) -> list[list[str]]:
    """The instructions of each loop that has the mnemonic (as `count` counts it) and no loop inside, in order."""
    lines = [line for line in assembly.splitlines() if _LABEL.match(line) or (line[:1] == "\t" and line[1:2] != ".")]
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    for position, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = position
        jump = _JUMP.match(line)
        if jump and jump[1] in labels:
            ends[labels[jump[1]]] = position
    innermost = [(s, e) for s, e in sorted(ends.items()) if not any(s < start and ends[start] <= e for start in ends)]
    bodies = [[each.strip() for each in lines[start : end + 1] if each[0] == "\t"] for start, end in innermost]
    return [body for body in bodies if count(body, mnemonic)]


def count(instructions: list[str], mnemonic: str) -> int:
    """How many are that one, with or without AVX's ``v``; the three forms of a fused multiply-add are one."""
    wanted = _plain(mnemonic)
    return sum(_plain(line.removeprefix("{vex}").split()[0]) == wanted for line in instructions)


def _plain(mnemonic: str) -> str:
    return _FUSED.sub(r"\g<1>231", mnemonic.removeprefix("v"))


def arithmetic(instructions: list[str]) -> int:
    """How many compute with whole vectors."""
    return sum(_ARITHMETIC.fullmatch(line.split()[0]) is not None for line in instructions)


def scalar_arithmetic(instructions: list[str]) -> list[str]:
    """Those that compute with one element."""
    return [line for line in instructions if _SCALAR.fullmatch(line.split()[0])]


def calls(instructions: list[str]) -> list[str]:
    """Those that call something."""
    return [line for line in instructions if line.startswith("call")]


def on_stack(instructions: list[str]) -> list[str]:
    """Those with a place on the stack that stays: a spilled register, where elements of scratch have an index."""
    return [line for line in instructions if _STACK.search(line)]


def vector_bits(instructions: list[str]) -> set[int]:
    """Widths of the vector registers that are used. Zeroing one is written as a narrow one and clears all of it."""
    kinds = re.findall(r"%([xyz])mm\d", "\n".join(line for line in instructions if not _ZEROED.match(line)))
    return {{"x": 128, "y": 256, "z": 512}[kind] for kind in kinds}
