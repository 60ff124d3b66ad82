"""Reading the assembly of kernels, of x86-64 and of 64-bit Arm."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern

_LABEL = re.compile(r"^(\.LBB\w+):")
_FUSED = re.compile(r"(fn?m(?:add|sub))(?:132|213)")


@dataclass(frozen=True)
class Syntax:
    """What one architecture's instructions look like."""

    jump: Pattern[str]
    """A jump within the function, whose group is the label."""
    call: str
    arithmetic: Pattern[str]
    """Mnemonics that compute with whole vectors."""
    is_scalar: Callable[[str], bool]
    """Whether an instruction computes with one element."""
    stack: Pattern[str]
    """A place on the stack that stays: a spilled register, where elements of scratch have an index."""
    widths: Callable[[list[str]], set[int]]
    """Bits of the vectors that instructions use."""
    plain: Callable[[str], str]
    """A mnemonic without what tells its forms apart."""

    def innermost_loops(self, assembly: str, mnemonic: str) -> list[list[str]]:
        """The instructions of each loop that has the mnemonic (as `count` counts it) and no loop inside, in order."""
        lines = [
            line for line in assembly.splitlines() if _LABEL.match(line) or (line[:1] == "\t" and line[1:2] != ".")
        ]
        labels: dict[str, int] = {}
        ends: dict[int, int] = {}
        for position, line in enumerate(lines):
            if label := _LABEL.match(line):
                labels[label[1]] = position
            jump = self.jump.match(line)
            if jump and jump[1] in labels:
                ends[labels[jump[1]]] = position
        innermost = [
            (s, e) for s, e in sorted(ends.items()) if not any(s < start and ends[start] <= e for start in ends)
        ]
        bodies = [[each.strip() for each in lines[start : end + 1] if each[0] == "\t"] for start, end in innermost]
        return [body for body in bodies if self.count(body, mnemonic)]

    def count(self, instructions: list[str], mnemonic: str) -> int:
        """How many are that one, in any of its forms."""
        wanted = self.plain(mnemonic)
        return sum(self.plain(line.removeprefix("{vex}").split()[0]) == wanted for line in instructions)

    def computing(self, instructions: list[str]) -> int:
        """How many compute with whole vectors."""
        return sum(self.arithmetic.fullmatch(line.split()[0]) is not None for line in instructions)

    def scalar_arithmetic(self, instructions: list[str]) -> list[str]:
        """Those that compute with one element."""
        return [line for line in instructions if self.is_scalar(line)]

    def calls(self, instructions: list[str]) -> list[str]:
        """Those that call something."""
        return [line for line in instructions if line.split()[0].startswith(self.call)]

    def on_stack(self, instructions: list[str]) -> list[str]:
        """Those with a place on the stack that stays."""
        return [line for line in instructions if self.stack.search(line)]


_SCALAR = re.compile(r"v?(fn?m(add|sub)\d{3}|add|sub|mul|div|max|min|sqrt)s[sd]")
_ZEROED = re.compile(r"v?p?xor\w*\s+(%\w+), \1(, %\w+)?$")
_INSERTED = re.compile(r"vinsert[fi]\d+\w*\s")


def _x86_widths(instructions: list[str]) -> set[int]:
    """Zeroing a register is written as a narrow one and clears all of it; half a register is put beside another."""
    plain = (line for line in instructions if not _ZEROED.match(line) and not _INSERTED.match(line))
    kinds = re.findall(r"%([xyz])mm\d", "\n".join(plain))
    return {{"x": 128, "y": 256, "z": 512}[kind] for kind in kinds}


X86 = Syntax(
    jump=re.compile(r"^\tj\w+\s+(\.LBB\w+)"),
    call="call",
    arithmetic=re.compile(
        r"v?(fn?m(add|sub)\d{3}|add|sub|mul|div|max|min|sqrt)p[sd]"
        r"|v?p(add|sub|sll|sra|srl)[wdq]|v?pmaddwd|vpdp\w+|vdpbf16ps"
    ),
    is_scalar=lambda line: _SCALAR.fullmatch(line.split()[0]) is not None,
    stack=re.compile(r"[\s,]-?\w*\(%rsp\)"),
    widths=_x86_widths,
    plain=lambda mnemonic: _FUSED.sub(r"\g<1>231", mnemonic.removeprefix("v")),
)
"""A leading ``v`` is AVX's form; the three forms of a fused multiply-add are one."""

_ARM_ARITHMETIC = (
    r"f(mla|mls|add|sub|mul|div|max|min|maxnm|minnm|sqrt|neg|abs)|(s|u|us|su)dot|(s|u)ml[as]l2?|bfdot|(s|u|us|bf)mmla"
    r"|add|sub|mul|sshl|ushl|shl|sshr|ushr"
)


def _arm_is_scalar(line: str) -> bool:
    mnemonic, _, operands = line.expandtabs(1).partition(" ")
    floats = re.fullmatch(r"f(madd|msub|nmadd|nmsub|add|sub|mul|div|max|min|maxnm|minnm|sqrt)", mnemonic)
    return bool(floats) and re.match(r"[sd]\d", operands) is not None


def _arm_widths(instructions: list[str]) -> set[int]:
    """Of the results: an operand may be half a register, or a lane."""
    found = re.findall(r"^\w+\s+v\d+\.(\d+)([bhsd])\b", "\n".join(instructions), re.MULTILINE)
    return {int(lanes) * {"b": 8, "h": 16, "s": 32, "d": 64}[kind] for lanes, kind in found}


ARM = Syntax(
    jump=re.compile(r"^\t(?:b|b\.\w+|cbn?z|tbn?z)\s+(?:[^.]*\s)?(\.LBB\w+)"),
    call="bl",
    arithmetic=re.compile(_ARM_ARITHMETIC),
    is_scalar=_arm_is_scalar,
    stack=re.compile(r"\[sp(, #\d+)?\]"),
    widths=_arm_widths,
    plain=lambda mnemonic: mnemonic,
)
