"""A quantized model as it is meant: every operator in float32 between exact QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx

from dsc.check import Reference
from dsc.check.deviation import Deviations
from dsc.check.emulated import HALF_PRECISION, emulated

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def runner(model: onnx.ModelProto, threads: int | None = None) -> Run:
    """What runs a model: inputs by name to outputs by name.

    ONNX Runtime's integer kernels are left out: on x86 without VNNI their sums saturate, which the model does not.
    What is in half precision is computed in float32, and rounded after each operator.
    """
    return Reference(emulated(model, HALF_PRECISION), threads, optimized=True, fuses_quantization=False).run


def output_decibels(expected: Run, found: Run, samples: Iterable[Mapping[str, np.ndarray]]) -> float:
    """The signal-to-noise ratio of a model's float outputs over all samples."""
    deviations = Deviations()
    for feeds in samples:
        outputs = found(feeds)
        for name, array in expected(feeds).items():
            if array.dtype.kind == "f":
                deviations.add(array, outputs[name])
    return deviations.result().snr
