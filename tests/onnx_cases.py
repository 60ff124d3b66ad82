"""ONNX's own operator cases, as its package generates them."""

from __future__ import annotations

import warnings

from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase


def onnx_node_cases() -> list[TestCase]:
    """All of them, unfiltered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about the infinities that some cases are for
        return list(collect_testcases(None))
