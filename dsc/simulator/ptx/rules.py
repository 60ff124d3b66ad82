"""What a rule of a PTX instruction is: a pattern of its name, and a function that writes C++."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Rendered: TypeAlias = "str | list[str]"
"""An operand as C++: an expression (a variable if it is a register; base plus offset if an address), or a group's."""

Emit: TypeAlias = "Callable[[re.Match[str], list[Rendered]], str | None]"
"""Match of the name, operands -> statements; None where these operands are not of this instruction."""

Rule: TypeAlias = "tuple[re.Pattern[str], Emit]"


def rule(pattern: str, emit: Emit) -> Rule:
    """A rule for names that match all of `pattern`."""
    return re.compile(pattern), emit


def single(operand: Rendered) -> str:
    """An operand that is no group; a group of one is its member. Raises ValueError for a longer group."""
    if isinstance(operand, str):
        return operand
    (member,) = operand
    return member


def members(operand: Rendered) -> list[str]:
    """The members of a group; of a single operand, itself."""
    return [operand] if isinstance(operand, str) else operand


def put(type: str, to: str, value: str) -> str:
    """Set a register to a value of a C++ type; `_` is the sink."""
    return f"(void)({value});" if to == "_" else f"simulator_ptx::put<{type}>({to}, {value});"


def take(type: str, value: str) -> str:
    """A register or an immediate as a value of a C++ type: its bits."""
    return f"simulator_ptx::take<{type}>({value})"
