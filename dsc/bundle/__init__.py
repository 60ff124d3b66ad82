"""A folder that runs a compiled model without Python: code, weights, TVM's runtime, a runner with a C interface."""

from __future__ import annotations

from dsc.bundle.bundle import Bundle, check_output, write_bundle

__all__ = ["Bundle", "check_output", "write_bundle"]
