"""Canonicalization: see `Canonicalize`, and one file for each family of rules."""

from __future__ import annotations

from dsc.passes.canonicalize.canonicalize import RULES, Canonicalize
from dsc.passes.canonicalize.expand_functions import ExpandFunctions
from dsc.passes.canonicalize.fold_pass import Fold

__all__ = ["RULES", "Canonicalize", "ExpandFunctions", "Fold"]
