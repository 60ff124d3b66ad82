"""Local memory (LDS, address space 3): variables of the module become memory that the core gives to a block.

A kernel asks for its variables where it begins. Addresses that are constants of LLVM's, as they follow from a
variable's, are then no constants: they are computed there too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from dsc.simulator.amd.ir import Line
from dsc.simulator.amd.types import bytes_of, type_at
from dsc.simulator.source import closing

_VARIABLE = re.compile(r"@(?P<name>[\w.$]+) = (?P<linkage>.*?)\baddrspace\(3\) (?:global|constant) (?P<rest>.*)$")
_CONSTANT = re.compile(r"\b(?P<kind>getelementptr|addrspacecast)\b(?P<flags>[a-z ]*)\(")
_NAME = re.compile(r"@([\w.$]+)")
_DEFAULT_ALIGNMENT = 16


@dataclass(frozen=True)
class Variable:
    """Of local memory. `size` and `alignment` are in bytes; a size of 0 is what the launch adds."""

    number: int
    name: str
    size: int
    alignment: int

    @property
    def register(self) -> str:
        """What holds its address."""
        return f"%simulator.shared.{self.number}"

    @property
    def place(self) -> str:
        """The instruction that asks for it."""
        if self.size == 0:
            return f"{self.register} = call ptr @simulator_dynamic_shared(i64 {self.alignment})"
        return (
            f"{self.register} = call ptr @simulator_shared_variable(i32 {self.number}, i64 {self.size}, "
            f"i64 {self.alignment}, ptr @simulator.name.{self.number})"
        )

    @property
    def text(self) -> str:
        """Its name, as a constant of the module."""
        return f'@simulator.name.{self.number} = private constant [{len(self.name) + 1} x i8] c"{self.name}\\00"'


def variables(lines: Sequence[Line]) -> dict[str, Variable]:
    """Those among a module's globals, by name."""
    found: dict[str, Variable] = {}
    for line in lines:
        if match := _VARIABLE.match(line.text):
            type = type_at(match["rest"])
            aligned = re.search(r", align (\d+)", match["rest"])
            alignment = int(aligned[1]) if aligned else _DEFAULT_ALIGNMENT
            found[match["name"]] = Variable(len(found), match["name"], bytes_of(type), alignment)
    return found


@dataclass
class Places:
    """What a function needs of local memory, found on the way through its instructions."""

    known: dict[str, Variable]
    _taken: dict[str, Variable] = field(default_factory=dict)
    _computed: dict[str, str] = field(default_factory=dict)
    """Registers by what they are computed as."""

    def resolved(self, text: str) -> str:
        """An instruction with registers in place of variables and of constants made of them."""
        if "@" not in text:
            return text
        parts, end = [], 0
        for match in _CONSTANT.finditer(text):
            if match.start() < end:
                continue
            after = closing(text, match.end() - 1)
            inside = text[match.end() : after - 1]
            if self._has_variable(inside):
                parts += [text[end : match.start()], self._register(match["kind"], match["flags"], inside)]
                end = after
        rest = "".join([*parts, text[end:]])
        return _NAME.sub(lambda name: self._taking(name[1]) if name[1] in self.known else name[0], rest)

    def entry(self) -> list[str]:
        """The instructions that a function begins with."""
        return [
            *(variable.place for variable in self._taken.values()),
            *(f"{register} = {value}" for value, register in self._computed.items()),
        ]

    def _has_variable(self, text: str) -> bool:
        return any(match[1] in self.known for match in _NAME.finditer(text))

    def _taking(self, name: str) -> str:
        self._taken[name] = self.known[name]
        return self.known[name].register

    def _register(self, kind: str, flags: str, inside: str) -> str:
        resolved = self.resolved(inside)
        if kind == "addrspacecast":
            return resolved.split(" to ")[0].split()[-1]
        return self._computed.setdefault(
            f"{kind}{flags.rstrip()} {resolved}", f"%simulator.place.{len(self._computed)}"
        )
