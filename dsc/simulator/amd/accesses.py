"""Accesses to memory: what an instruction reads or writes, and the call that has it watched."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsc.simulator.amd.ir import Line
from dsc.simulator.amd.types import bytes_of, type_at

_PRIVATE = "5"
_POINTER = r"ptr(?: addrspace\((?P<space>\d)\))? (?P<pointer>\S+?)"
_ALIGNED = r"(?:, align (?P<align>\d+))?$"
_LOAD = re.compile(rf"%\S+ = load (?:volatile )?(?P<type>.+?), {_POINTER}{_ALIGNED}")
_STORE = re.compile(rf"store (?:volatile )?(?P<type>.+), {_POINTER}{_ALIGNED}")
_ATOMIC = re.compile(rf"%\S+ = atomicrmw (?:volatile )?\w+ {_POINTER}, (?P<type>.+)$")
_BETWEEN = re.compile(r"(?:%\S+ = )?(?:load|store|atomicrmw|cmpxchg|br|ret|(?:tail )?call (?!.*@llvm\.))\b")
_ORDERED = re.compile(r"(?:%\S+ = )?(?:load|store) atomic\b|%\S+ = cmpxchg\b")


@dataclass(frozen=True)
class Access:
    """Of one instruction."""

    function: str
    """Of the core, that is told."""
    pointer: str
    size: int
    """Bytes."""
    alignment: int
    is_private: bool
    """Whether it is to the thread's own memory."""

    @property
    def call(self) -> str:
        """That has it watched."""
        aligned = "" if self.function.endswith("atomic") else f", i64 {self.alignment}"
        return f"call void @{self.function}(ptr {self.pointer}, i64 {self.size}{aligned})"


def access_of(line: Line) -> Access | None:
    """The access that an instruction is. Raises ValueError for those that are not understood."""
    if _ORDERED.match(line.text):
        raise ValueError("this atomic access")
    for pattern, function in (
        (_LOAD, "simulator_amd_load"),
        (_STORE, "simulator_amd_store"),
        (_ATOMIC, "simulator_amd_atomic"),
    ):
        if match := pattern.match(line.text):
            size = bytes_of(type_at(match["type"]))
            stated = match.groupdict().get("align")
            return Access(function, match["pointer"], size, int(stated or 1), match["space"] == _PRIVATE)
    if re.match(r"(?:%\S+ = )?(?:load|store|atomicrmw) ", line.text):
        raise ValueError("this access to memory")
    return None


def orders(lines: tuple[Line, ...], at: int) -> bool:
    """Whether the barrier at that place stands between fences: a release before and an acquire after it, with no access
    to memory in between. The instruction by itself orders nothing (User Guide for AMDGPU Backend, "Memory Model")."""
    return _meets(lines[at - 1 :: -1] if at else (), "release") and _meets(lines[at + 1 :], "acquire")


def _meets(lines: tuple[Line, ...], kind: str) -> bool:
    """Whether a fence of that kind comes before an access to memory, or the end of the block."""
    for line in lines:
        if line.text.startswith("fence "):
            if re.search(rf"\b(?:{kind}|acq_rel|seq_cst)$", line.text):
                return True
        elif line.is_label or _BETWEEN.match(line.text):
            return False
    return False
