"""What each operator requires of the sizes and indices it is given; see `requirement` and `indices`."""

from __future__ import annotations

import importlib
import pkgutil

from dsc.lower.requirements.indices import INDICES, Indexed, reaching
from dsc.lower.requirements.requirement import RULES, Required, Requirement, located, undecided

__all__ = ["INDICES", "RULES", "Indexed", "Required", "Requirement", "load_rules", "located", "reaching", "undecided"]


def load_rules() -> None:
    """Imports every module of this package, which registers its rules."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
