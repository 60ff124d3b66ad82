"""The text of an asm statement as PTX statements (PTX ISA, "Syntax" and "Instruction Statements")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Register:
    """A register by name, or an operand of the asm statement (``%3``), which is written as one."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A number as it is written: ``16``, ``0x1f``, ``0f3F800000``."""

    text: str


@dataclass(frozen=True)
class Group:
    """Registers in braces, or (`piped`) two destinations as in ``p|q``."""

    members: tuple[Value, ...]
    piped: bool = False


@dataclass(frozen=True)
class Address:
    """What is in brackets: a base, and bytes to add to it."""

    base: Value
    offset: str = ""


Value: TypeAlias = "Register | Immediate | Group | Address"


@dataclass(frozen=True)
class Declaration:
    """``.reg .b32 a, b;``"""

    type: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """``DONE:``"""

    name: str


@dataclass(frozen=True)
class Instruction:
    """``@!p cp.async.cg.shared.global [%0], [%1], 16;``"""

    name: str
    """All of ``cp.async.cg.shared.global``."""
    operands: tuple[Value, ...]
    guard: str = ""
    """Name of the predicate, if there is one."""
    negated: bool = False

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The parts of the name, the first included."""
        return tuple(self.name.split("."))


Statement: TypeAlias = "Declaration | Label | Instruction"

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_LABEL = re.compile(r"\s*([A-Za-z_$][\w$]*)\s*:(?!:)")
_DECLARATION = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.DOTALL)
_INSTRUCTION = re.compile(r"(?:@(!?)\s*([\w$%]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:0[xX][\da-fA-F]+|0[fFdD][\da-fA-F]+|\d+)U?")
_ADDRESS = re.compile(r"\[\s*(.+?)\s*(?:\+\s*(-?\w+)\s*)?\]", re.DOTALL)


class PtxSyntaxError(ValueError):
    """The text is no PTX; the message is the part that is not."""


def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a template of inline assembly, whose ``%%`` are still doubled. Raises PtxSyntaxError."""
    statements: list[Statement] = []
    for part in _COMMENT.sub(" ", text).split(";"):
        rest = part.strip()
        while rest:
            statement, rest = _next(rest)
            if statement is not None:
                statements.append(statement)
    return tuple(statements)


def _next(text: str) -> tuple[Statement | None, str]:
    """The first statement of a text without semicolons, and what follows it; braces open and close scopes."""
    if text[0] in "{}":
        return None, text[1:].strip()
    if label := _LABEL.match(text):
        return Label(label[1]), text[label.end() :].strip()
    if declaration := _DECLARATION.fullmatch(text):
        return Declaration(declaration[1], tuple(_names(declaration[2]))), ""
    instruction = _INSTRUCTION.fullmatch(text)
    if not instruction:
        raise PtxSyntaxError(text)
    negated, guard, name, operands = instruction.groups()
    return Instruction(name, tuple(map(_value, _split(operands))), guard or "", negated == "!"), ""


def _names(text: str) -> list[str]:
    """``a, b<2>`` declares a, b0 and b1."""
    names = []
    for name in (part.strip() for part in text.split(",")):
        if ranged := re.fullmatch(r"(\S+?)<(\d+)>", name):
            names += [f"{ranged[1]}{i}" for i in range(int(ranged[2]))]
        else:
            names.append(name)
    return names


def _split(text: str) -> list[str]:
    """At commas that are not within brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def _value(text: str) -> Value:
    if text.startswith("{") and text.endswith("}"):
        return Group(tuple(map(_value, _split(text[1:-1]))))
    if address := _ADDRESS.fullmatch(text):
        return Address(_value(address[1]), address[2] or "")
    if "|" in text:
        return Group(tuple(_value(part.strip()) for part in text.split("|")), piped=True)
    if _NUMBER.fullmatch(text):
        return Immediate(text)
    if re.fullmatch(r"[!%]*[\w$.]+", text):
        return Register(text)
    raise PtxSyntaxError(text)
