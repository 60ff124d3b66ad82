"""LLVM's IR as text: functions, their instructions, and the lines that these stand in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dsc.simulator.source import split

LABEL = re.compile(r'(?:[\w.$-]+|"[^"]*"):$')
_COMMENT = re.compile(r'\s*;[^"]*$')
_METADATA = re.compile(r",? ![A-Za-z_.]\w*(?:\.\w+)* !\d+")
_GROUP = re.compile(r" #(\d+)\b")
_CALL = re.compile(r'(?:(?P<result>%\S+) = )?(?:(?:tail|notail|musttail) )?call (?P<type>[^@"]*)@(?P<name>[\w.$]+)\(')


@dataclass(frozen=True)
class Line:
    """An instruction, a label or a declaration, without comments, metadata and groups of attributes."""

    number: int
    text: str

    @property
    def is_label(self) -> bool:
        return LABEL.match(self.text) is not None


@dataclass(frozen=True)
class Function:
    """One that is defined."""

    head: Line
    """Up to its bracket: ``define amdgpu_kernel void @name(ptr addrspace(1) %x)``."""
    attributes: str
    """Those of its group."""
    body: tuple[Line, ...]

    @property
    def name(self) -> str:
        return self._parts[0]

    @property
    def is_kernel(self) -> bool:
        return " amdgpu_kernel " in self.head.text

    @property
    def parameters(self) -> list[str]:
        """With their attributes and names."""
        return [part.strip() for part in split(self._parts[1], ",") if part.strip()]

    @property
    def _parts(self) -> tuple[str, str]:
        match = re.search(r"@([\w.$]+)\(", self.head.text)
        if match is None:
            raise ValueError(f"this is no function: {self.head.text}")
        return match[1], self.head.text[match.end() : self.head.text.rindex(")")]


@dataclass(frozen=True)
class Call:
    """Of a function by its name."""

    line: int
    result: str
    """``%x``, or nothing."""
    type: str
    """What it gives, with attributes."""
    name: str
    arguments: list[str]
    """Each with its type: ``i32 %x``."""

    def of(self, name: str, arguments: Sequence[str]) -> str:
        """The call of another function in its place."""
        kept = f"{self.result} = " if self.result else ""
        return f"{kept}call {self.type}@{name}({', '.join(arguments)})"


@dataclass
class Module:
    """All that a file has."""

    globals: list[Line] = field(default_factory=list)
    declarations: list[Line] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)


def parse(text: str) -> Module:
    """The parts of a module; what is about its target, and metadata, is left out."""
    module, groups = Module(), dict(re.findall(r"^attributes #(\d+) = \{(.*)\}$", text, re.MULTILINE))
    lines = _instructions(text)
    for line in lines:
        if line.text.startswith("define "):
            group = _GROUP.search(line.text)
            head = Line(line.number, _GROUP.sub("", line.text).removesuffix("{").rstrip())
            body = []
            for inner in lines:
                if inner.text == "}":
                    break
                body.append(Line(inner.number, _GROUP.sub("", inner.text)))
            module.functions.append(Function(head, groups.get(group[1], "") if group else "", tuple(body)))
        elif line.text.startswith("declare "):
            module.declarations.append(Line(line.number, _GROUP.sub("", line.text)))
        elif line.text.startswith(("@", "%")):
            module.globals.append(Line(line.number, _GROUP.sub("", line.text)))
    return module


def call_of(line: Line) -> Call | None:
    """The call of a function by its name that an instruction is, if it is one."""
    match = _CALL.match(line.text)
    if match is None:
        return None
    inside = line.text[match.end() : line.text.rindex(")")]
    arguments = [part.strip() for part in split(inside, ",") if part.strip()]
    return Call(line.number, match["result"] or "", match["type"], match["name"], arguments)


def _instructions(text: str) -> Iterator[Line]:
    """Lines with something in them; an instruction that takes several is one, of the number of its first."""
    held, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        part = _METADATA.sub("", _COMMENT.sub("", raw)).strip()
        if not part or part.startswith("#dbg_"):
            continue
        first = first if held else number
        held = f"{held} {part}" if held else part
        if _is_whole(held):
            yield Line(first, held)
            held = ""


def _is_whole(text: str) -> bool:
    """Whether its brackets are closed: the cases of a switch stand in lines of their own."""
    without = re.sub(r'"[^"]*"', "", text)
    return without.count("[") == without.count("]")
