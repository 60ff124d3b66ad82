"""Reading the assembly of kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LABEL = re.compile(r"^(\.LBB\w+):")
_JUMP = re.compile(r"^\tj\w+\s+(\.LBB\w+)")
_STACK = re.compile(r"\d*\(%r[sb]p\)")
"""A place on the stack; scratch there is walked through with an index."""


def inner_loops(assembly: str, mnemonic: str) -> list[list[str]]:
    """The instructions of each loop without loops in it that has the mnemonic."""
    lines = [line for line in assembly.splitlines() if _LABEL.match(line) or (line[:1] == "\t" and line[1:2] != ".")]
    labels = {label[1]: at for at, line in enumerate(lines) if (label := _LABEL.match(line))}
    jumps = [
        (labels[jump[1]], at) for at, line in enumerate(lines) if (jump := _JUMP.match(line)) and jump[1] in labels
    ]
    loops = [(start, end) for start, end in jumps if start < end]
    inner = [loop for loop in loops if not any(loop[0] <= start and end < loop[1] for start, end in loops)]
    bodies = [[line.strip() for line in lines[start : end + 1] if line[0] == "\t"] for start, end in inner]
    return [body for body in bodies if count(body, mnemonic)]


def count(instructions: Sequence[str], mnemonic: str) -> int:
    """How many are that one, with or without AVX's ``v``."""
    return sum(line.split()[0] in (mnemonic, f"v{mnemonic}") for line in instructions)


def spills(instructions: Sequence[str]) -> list[str]:
    """What is moved to or from a fixed place on the stack, and calls, which move much."""
    return [line for line in instructions if _STACK.search(line) or line.startswith("call")]
