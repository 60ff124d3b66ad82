"""Timing one implementation by itself: fresh random data, all cores, median of several runs."""

from __future__ import annotations

import statistics
import time

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from dsc.codegen.single import load_kernel
from dsc.host import usable_cores
from dsc.lower.nominal import NOMINAL, nominal
from dsc.runtime.devices import Device
from dsc.targets import AnyTarget, Implementation

_WARM_UP = 2
_RUNS = (3, 200)


def measure(
    implementation: Implementation, target: AnyTarget, device: Device, seconds: float = 0.05, seed: int = 0
) -> float:
    """Median seconds of a run on all cores that this process may use, as in a model.

    About `seconds` are spent running, after a warm-up that also fills the caches as a loop over a model would not:
    the figure ranks candidates of one workload and is not a share of a model's latency.
    """
    function = load_kernel(implementation.func, target.backend(), device, usable_cores())
    arguments = _arguments(implementation.func, device, np.random.default_rng(seed))
    once = min(_run(function, device, arguments) for _ in range(_WARM_UP))
    runs = int(np.clip(seconds / once, *_RUNS))
    return statistics.median(_run(function, device, arguments) for _ in range(runs))


def _run(function: tvm_ffi.Function, device: Device, arguments: list[object]) -> float:
    started = time.perf_counter()
    function(*arguments)
    device.synchronize()
    return time.perf_counter() - started


def _arguments(func: tirx.PrimFunc, device: Device, random: np.random.Generator) -> list[object]:
    """Tensors for the parameters that are buffers, aligned as a model's, numbers for the others; of nominal sizes."""
    return [
        tvm.runtime.tensor(_random([nominal(d) for d in p.shape], str(p.dtype), random), device.handle)
        if tirx.is_buffer_var(p)
        else NOMINAL
        for p in func.params
    ]


def _random(shape: list[int], dtype: str, random: np.random.Generator) -> np.ndarray:
    """Values that any op accepts: indices stay below two, floats are normal."""
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.startswith(("int", "uint")):
        return random.integers(0, 2, shape).astype(dtype)
    return random.standard_normal(shape).astype(dtype)
