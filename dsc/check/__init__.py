"""Differential testing: a compiled module against ONNX Runtime, down to what is to blame."""

from __future__ import annotations

from dsc.check.bisect import Culprit, find_culprit
from dsc.check.compare import OutputError, compare
from dsc.check.judge import Judge
from dsc.check.origin import check_origin
from dsc.check.reference import Reference
from dsc.check.samples import random_inputs, usable_inputs
from dsc.check.stages import Stages, verify_each
from dsc.check.tolerance import Tolerance
from dsc.check.verdict import Verdict, examine
from dsc.check.verify import Report, Runnable, verify

__all__ = [
    "Culprit",
    "Judge",
    "OutputError",
    "Reference",
    "Report",
    "Runnable",
    "Stages",
    "Tolerance",
    "Verdict",
    "check_origin",
    "compare",
    "examine",
    "find_culprit",
    "random_inputs",
    "usable_inputs",
    "verify",
    "verify_each",
]
