"""How much memory LLVM's types take."""

from __future__ import annotations

import re

_BITS = {"half": 16, "bfloat": 16, "float": 32, "double": 64, "ptr": 64}
_SEVERAL = re.compile(r"[<\[](\d+) x (.*)[>\]]$")


def bytes_of(type: str) -> int:
    """Of a value in memory. Raises ValueError for structures and what else no kernel has."""
    return (_bits(type.strip()) + 7) // 8


def _bits(type: str) -> int:
    if match := _SEVERAL.match(type):
        each = _bits(match[2])
        return int(match[1]) * (each if type.startswith("<") else (each + 7) // 8 * 8)
    if match := re.fullmatch(r"i(\d+)", type):
        return int(match[1])
    name = type.split(" ", 1)[0]
    if name not in _BITS or (name != type and name != "ptr"):
        raise ValueError(f"values of type {type}")
    return _BITS[name]


def type_at(text: str) -> str:
    """The type that a text begins with."""
    if text[:1] in ("<", "["):
        depth = 0
        for at, letter in enumerate(text):
            depth += (letter in "<[") - (letter in ">]")
            if depth == 0:
                return text[: at + 1]
    match = re.match(r"ptr addrspace\(\d+\)|[A-Za-z]\w*", text)
    if match is None:
        raise ValueError(f"a type where there is {text[:40]}")
    return match[0]
