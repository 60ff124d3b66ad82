"""A quantized model as it is meant: every operator in float32 between exact QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx

from dsc.check import Reference

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def runner(model: onnx.ModelProto, threads: int | None = None) -> Run:
    """What runs a model: inputs by name to outputs by name.

    ONNX Runtime's integer kernels are left out: on x86 without VNNI their sums saturate, which the model does not.
    """
    return Reference(model, threads, optimized=True, fuses_quantization=False).run


def output_decibels(expected: Run, found: Run, samples: Iterable[Mapping[str, np.ndarray]]) -> float:
    """The signal-to-noise ratio of a model's float outputs over all samples."""
    power = noise = 0.0
    for feeds in samples:
        outputs = found(feeds)
        for name, array in expected(feeds).items():
            if array.dtype.kind != "f":
                continue
            wide = array.astype(np.float64)
            power += float((wide**2).sum())
            noise += float(((wide - outputs[name]) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power else -math.inf
