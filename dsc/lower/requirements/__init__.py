"""What each operator requires of the sizes and indices it is given; see `requirement` and `indices`."""

from __future__ import annotations

import importlib
import pkgutil

from dsc.ir import Fact, has
from dsc.lower.registry import Call
from dsc.lower.requirements.elementwise import operands
from dsc.lower.requirements.indices import INDICES, Indexed, reaching
from dsc.lower.requirements.requirement import RULES, Required, Requirement, Requirements, located, requires, undecided

__all__ = [
    "INDICES",
    "RULES",
    "Indexed",
    "Required",
    "Requirement",
    "load_rules",
    "located",
    "reaching",
    "required",
    "requires",
    "undecided",
]


def required(call: Call) -> Requirements:
    """What the sizes of an op's operands must be like, by its rule or by what is true of the operator; else nothing."""
    if (rule := RULES.get(call.op.name)) is not None:
        return rule(call)
    return operands(call) if has(call.op, Fact.BROADCASTS) else ()


def load_rules() -> None:
    """Imports every module of this package, which registers its rules."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
