"""One exported file: ONNX Runtime, then dsc, at each of the sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

import dsc
from dsc.errors import DscError, UnsupportedModelError
from tests.exports.inputs import SIZES, Input, feeds
from tests.exports.outcome import Outcome

TOLERANCE = 1e-4
"""Largest difference, relative to the largest element of an output: a few layers of float32 in another order."""


def compare(path: Path, inputs: Sequence[Input], level: int = 2) -> Outcome:
    """Compile the file, and run it at all sizes beside ONNX Runtime's unoptimized session."""
    try:
        session = _session(path)
        names = {node.name for node in session.get_inputs()}
        given = [{n: a for n, a in feeds(inputs, s, seed=2).items() if n in names} for s in SIZES]
        expected = [session.run(None, each) for each in given]
    except Exception as error:  # ONNX Runtime has no common class of its errors
        return Outcome("onnxruntime", _line(error))
    started = time.perf_counter()
    try:
        module = dsc.compile(str(path), opt_level=level)
        seconds = time.perf_counter() - started
        for each, wanted in zip(given, expected, strict=True):
            found = list(module.run(each).values())
            different = _difference(found, wanted)
            if different:
                shapes = {name: array.shape for name, array in each.items()}
                return Outcome("differs", f"{different} at {shapes}", seconds)
    except UnsupportedModelError as error:
        return Outcome("refused", _line(error))
    except DscError as error:
        return Outcome("error", _line(error))
    return Outcome("equal", "", seconds)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _difference(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> str:
    """What differs, or nothing."""
    for position, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {position} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        if b.dtype.kind != "f":
            if not np.array_equal(a, b):
                return f"output {position} has other integers"
        elif not np.array_equal(np.isnan(a), np.isnan(b)):
            return f"output {position} has other NaN"
        else:
            scale = np.abs(b, where=np.isfinite(b), out=np.zeros_like(b)).max(initial=0.0) or 1.0
            close = np.isclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
            if not close.all():
                return f"output {position} differs by {np.nanmax(np.abs(a - b)):.3g} of {scale:.3g}"
    return ""


def _line(error: Exception) -> str:
    """The last line of a message says most, as errors that come from TVM begin with a stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:400]
