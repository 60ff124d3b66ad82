"""Differential testing: a compiled module against ONNX Runtime, down to the first wrong op."""

from __future__ import annotations

from dsc.check.bisect import Culprit, first_wrong_kernel, first_wrong_stage
from dsc.check.compare import OutputError, compare
from dsc.check.each import verify_each
from dsc.check.origin import check_origin
from dsc.check.reference import Reference
from dsc.check.samples import random_inputs
from dsc.check.verify import Report, Runnable, verify

__all__ = [
    "Culprit",
    "OutputError",
    "Reference",
    "Report",
    "Runnable",
    "check_origin",
    "compare",
    "first_wrong_kernel",
    "first_wrong_stage",
    "random_inputs",
    "verify",
    "verify_each",
]
