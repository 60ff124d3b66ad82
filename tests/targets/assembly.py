"""Reading the assembly of kernels."""

from __future__ import annotations

import re

_LABEL = re.compile(r"^(\.LBB\w+):")
_JUMP = re.compile(r"^\tj\w+\s+(\.LBB\w+)")


def innermost_loop(assembly: str, mnemonic: str) -> list[str]:
    """The instructions of the shortest loop that has the mnemonic, with or without AVX's ``v``; [] if there is none."""
    lines = [line for line in assembly.splitlines() if _LABEL.match(line) or (line[:1] == "\t" and line[1:2] != ".")]
    labels: dict[str, int] = {}
    loops: list[list[str]] = []
    for position, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = position
        jump = _JUMP.match(line)
        if jump and jump[1] in labels:
            body = [each.strip() for each in lines[labels[jump[1]] : position + 1] if each[0] == "\t"]
            if count(body, mnemonic):
                loops.append(body)
    return min(loops, key=len, default=[])


def count(instructions: list[str], mnemonic: str) -> int:
    """How many are that one, with or without AVX's ``v``."""
    names = (line.removeprefix("{vex}").split()[0] for line in instructions)
    return sum(name in (mnemonic, f"v{mnemonic}") for name in names)
