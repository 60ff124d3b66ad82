"""Machines of a user's own, from a TOML file.

[arm.pi5]                    # becomes the target arm:pi5
like = "cortex-a76"          # a tag of the family, whose facts hold where no other is given
source = "product brief of the Raspberry Pi 5"
frequency = 2.4e9
l3_bytes = 2097152
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dsc.errors import UsageError
from dsc.targets.machine import Machine
from dsc.targets.registry import families, register_machine, target

_LIKE = "like"
_OF_THE_CODE = ("vector_bits", "vector_registers", "warp")
"""Numbers that belong to the instruction set, which is the like machine's as all is that is no number."""
_MAY_BE_0 = ("l3_bytes", "l3_bandwidth", "shared_bytes_dynamic", "shared_bytes_reserved")


def load_machines(path: Path | str) -> list[str]:
    """Add the machines of a TOML file; the names of their targets are returned.

    Raises UsageError, naming the file and the entry, for a file that cannot be read, a family that is not known, a
    fact that the family's machines do not have, or one of another type than theirs.
    """
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    made = []
    for family, tags in content.items():
        if family not in families() or not isinstance(tags, dict):
            raise UsageError(f"{path}: [{family}] is no family of targets; there are {', '.join(sorted(families()))}")
        for tag, facts in tags.items():
            place = f"{path}: [{family}.{tag}]"
            if not isinstance(facts, dict):
                raise UsageError(f"{place} is no table of facts")
            made.append((family, tag, _machine(family, tag, facts, place)))
    if not made:
        raise UsageError(f"{path} has no machine: write a table as [arm.mine]")
    for family, tag, machine in made:
        register_machine(family, tag, machine)
    return [machine.name for _, _, machine in made]


def _machine(family: str, tag: str, facts: Mapping[str, Any], place: str) -> Machine:
    if not isinstance(facts.get(_LIKE), str):
        raise UsageError(f'{place}: like = "TAG" is missing: the machine whose facts hold where no other is given')
    if "source" not in facts:
        raise UsageError(f'{place}: source = "..." is missing: where the numbers are from')
    try:
        model: Machine = target(f"{family}:{facts[_LIKE]}").machine
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    known = _settable(model)
    given = {name: value for name, value in facts.items() if name != _LIKE}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known) or sorted(known)
            raise UsageError(f"{place}: {name} is no fact that can be given; {', '.join(near)} can")
        given[name] = _as_type_of(known[name], value, f"{place}: {name}", name in _MAY_BE_0)
    return replace(model, name=f"{family}:{tag}", **given)


def _settable(model: Machine) -> dict[str, str | int | float]:
    """The facts that may differ: numbers that time depends on, and where they are from."""
    values = {field.name: getattr(model, field.name) for field in fields(model) if field.name not in _OF_THE_CODE}
    return {
        name: value for name, value in values.items() if name == "source" or type(value) in (int, float)
    }  # fmt: skip


def _as_type_of(model: str | int | float, value: object, place: str, may_be_0: bool) -> str | int | float:
    """`value` as the fact `model` has it. Raises UsageError for another type, and for numbers that are not positive."""
    if isinstance(model, float) and type(value) is int:
        value = float(value)
    if isinstance(value, str) and isinstance(model, str):
        return value
    if type(value) is not type(model) or not isinstance(value, int | float):
        raise UsageError(f"{place} = {value!r} should be {type(model).__name__}, as {model!r}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_0):
        raise UsageError(f"{place} = {value!r} should be more than 0")
    return value
