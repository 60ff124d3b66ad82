"""LLVM's code for AMD's processors to LLVM's code for the host, under the simulator's core.

Address spaces are one, local memory is the core's, instructions of AMD's are calls of it, and before each access to
memory there is a call that has it watched. Instructions keep their lines, so that faults have theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dsc.simulator.amd.accesses import access_of, orders
from dsc.simulator.amd.intrinsics import DECLARATIONS, replaced
from dsc.simulator.amd.ir import Call, Function, Line, Module, call_of, parse
from dsc.simulator.amd.lines import LineTable
from dsc.simulator.amd.matrix import LANES, definitions
from dsc.simulator.amd.shared import Places, Variable, variables
from dsc.simulator.amd.table import kernel_table
from dsc.simulator.errors import UnknownInstructionError

_HOST = """target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"
attributes #0 = { nounwind "target-cpu"="x86-64-v3" "probe-stack"="inline-asm" }"""
"""The processor that g++ compiles the core for; a stack that is full meets the page below it."""
_SPACES = re.compile(r",? ?addrspace\((\d+)\)")
_KNOWN_SPACES = frozenset("01345")
_VISIBILITY = re.compile(r"\b(?:dllexport|protected|hidden|local_unnamed_addr|unnamed_addr)(?: |$)")
_LINKAGE = re.compile(
    r"\b(?:private|internal|available_externally|linkonce|weak|linkonce_odr|weak_odr|dso_local|fastcc|"
    r"amdgpu_kernel|amdgpu_gfx) "
)
_BARRIER = "llvm.amdgcn.s.barrier"
_NARROW = r"ptr addrspace\([35]\)"
_ADDRESS_AS_NUMBER = re.compile(rf"\b(?:ptrtoint (?:\([^)]*)?{_NARROW}|inttoptr .* to {_NARROW})")
_EMPTY_ASSEMBLY = re.compile(r'(?:tail )?call void asm sideeffect "", ""\(\)')
_IGNORED = re.compile(r"fence |(?:tail )?call void @llvm\.(?:lifetime\.|dbg\.|experimental\.noalias|assume\()")


def translate(text: str, lanes: int, checks: bool) -> str:
    """The host's code of a module of kernels.

    lanes: of a wavefront.
    checks: whether accesses to memory are watched.

    Raises UnknownInstructionError, naming the line, for what has no meaning here.
    """
    module = parse(text)
    translation = _Translation(module, text.splitlines(), lanes, checks)
    functions = [translation.function(function) for function in module.functions]
    return "\n".join(
        [
            _HOST,
            *translation.globals(),
            DECLARATIONS,
            *translation.declarations(),
            *functions,
            *definitions(translation.products),
            kernel_table(module.functions, checks),
            translation.table.text,
        ]
    )


@dataclass
class _Translation:
    """Of a module."""

    module: Module
    source: Sequence[str]
    lanes: int
    checks: bool
    shared: dict[str, Variable] = field(init=False)
    table: LineTable = field(default_factory=LineTable)
    products: list[Call] = field(default_factory=list)
    """Calls of matrix instructions."""

    def __post_init__(self) -> None:
        self.shared = variables(self.module.globals)
        self._defined = {function.name for function in self.module.functions}

    def globals(self) -> Iterator[str]:
        """Constants and types as they are; names of local memory."""
        for line in self.module.globals:
            if not re.match(rf"@(?:{'|'.join(map(re.escape, self.shared)) or '$'}) ", line.text):
                yield self._at(line, lambda text: _VISIBILITY.sub("", _plain(text)), line.text)
        yield from (variable.text for variable in self.shared.values())

    def declarations(self) -> Iterator[str]:
        """Of intrinsics of all targets; what else is called must be here."""
        for line in self.module.declarations:
            match = re.search(r"@([\w.$]+)\(", line.text)
            if match is None or not match[1].startswith("llvm."):
                raise self._unknown(line, f"calls {match[1] if match else 'a function'}, which is nowhere defined")
            if not match[1].startswith(("llvm.amdgcn.", "llvm.lifetime.", "llvm.dbg.", "llvm.mem", "llvm.assume")):
                yield self._at(line, _plain, line.text)

    def function(self, function: Function) -> str:
        """Its text."""
        places = Places(self.shared)
        body: list[str] = []
        for at, line in enumerate(function.body):
            resolved = Line(line.number, places.resolved(line.text))
            body += self._lines(resolved, function.body, at)
        head = self._at(function.head, _internal, function.head.text)
        first = 1 if body and body[0].endswith(":") else 0
        entry = [f"  {self._at(function.head, _plain, text)}" for text in places.entry()]
        scope = self.table.function(function.name, function.head.number)
        return "\n".join([f"{head} #0 !dbg !{scope} {{", *body[:first], *entry, *body[first:], "}"])

    def _lines(self, line: Line, body: tuple[Line, ...], at: int) -> list[str]:
        """What an instruction becomes, each with the place that it stands at."""
        if line.is_label:
            return [line.text]
        try:
            made = [_plain(text) for text in self._instructions(line, body, at)]
        except (ValueError, IndexError) as error:
            raise self._unknown(line, str(error)) from None
        place = self.table.line(line.number)
        return [f"  {text}, !dbg !{place}" for text in made]

    def _instructions(self, line: Line, body: tuple[Line, ...], at: int) -> list[str]:
        if _IGNORED.match(line.text) or _EMPTY_ASSEMBLY.fullmatch(line.text):
            return []
        if _ADDRESS_AS_NUMBER.search(line.text):
            raise ValueError("the simulator has addresses of local memory in 64 bits, not in 32")
        if re.match(r"(?:%\S+ = )?(?:(?:tail|notail|musttail) )?call ", line.text):
            return self._called(line, body, at)
        if access := access_of(line):
            is_watched = self.checks and not access.is_private
            return [access.call, line.text] if is_watched else [line.text]
        return [line.text]

    def _called(self, line: Line, body: tuple[Line, ...], at: int) -> list[str]:
        call = call_of(line)
        if call is None:
            raise ValueError("the simulator knows no inline assembly, and no calls of functions without a name")
        if call.name == _BARRIER:
            return [call.of("simulator_amd_barrier", [f"i32 {line.number}", f"i32 {int(orders(body, at))}"])]
        made = replaced(call)
        if made is None:
            if not call.name.startswith("llvm.") and call.name not in self._defined:
                raise ValueError(f"the simulator does not know {call.name}")
            return [line.text]
        if match := re.search(r"\.(mfma|wmma)\.", call.name):
            if self.lanes != LANES[match[1]]:
                raise ValueError(f"{call.name} is not of wavefronts of {self.lanes} lanes")
            self.products.append(call)
        return made

    def _at(self, line: Line, change: Callable[[str], str], text: str) -> str:
        try:
            return change(text)
        except ValueError as error:
            raise self._unknown(line, str(error)) from None

    def _unknown(self, line: Line, reason: str) -> UnknownInstructionError:
        shown = self.source[line.number - 1].strip()
        return UnknownInstructionError(f"line {line.number} of LLVM's code: {reason}\n  {shown}")


def _internal(head: str) -> str:
    """The head of a function that nothing outside knows."""
    without = re.sub(r' section "[^"]*"', "", _VISIBILITY.sub("", _plain(head)))
    return _LINKAGE.sub("", without).replace("define ", "define internal ", 1)


def _plain(text: str) -> str:
    """Without address spaces, between which nothing is then cast, and without scopes of atomic operations."""
    for space in _SPACES.findall(text):
        if space not in _KNOWN_SPACES:
            raise ValueError(f"the simulator does not know address space {space}")
    text = re.sub(r"addrspacecast (\(?)ptr", r"bitcast \1ptr", text) if "addrspacecast" in text else text
    return re.sub(r' syncscope\("[^"]*"\)', "", _SPACES.sub("", text))
