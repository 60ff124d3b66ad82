"""Timing one implementation by itself: fresh random data, all cores, median of several runs."""

from __future__ import annotations

import statistics
import time

import numpy as np
import tvm

from dsc.targets import Implementation, Machine

_SYMBOLIC_EXTENT = 128
"""What an unknown extent is taken to be: a sentence of usual length, a small batch of anything else."""


def measure(
    implementation: Implementation, machine: Machine, seconds: float = 0.05, seed: int = 0
) -> float:
    """Median seconds of a run on all cores of this machine.

    About `seconds` are spent running, after a warm-up that also fills the caches as a loop over a model would not:
    the figure ranks candidates of one workload and is not a share of a model's latency.
    """
    module = tvm.IRModule({"main": implementation.func.with_attr("global_symbol", "main")})
    function = tvm.compile(module, target=machine.tvm_target())["main"]
    arguments = _arguments(implementation.func, np.random.default_rng(seed))
    function(*arguments)
    started = time.perf_counter()
    function(*arguments)
    once = time.perf_counter() - started
    runs = int(np.clip(seconds / max(once, 1e-7), 3, 200))
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _arguments(func: tvm.tirx.PrimFunc, random: np.random.Generator) -> list[object]:
    """Tensors for the parameters with a buffer, the representative extent for scalar ones."""
    arguments: list[object] = []
    for parameter in func.params:
        buffer = func.buffer_map.get(parameter)
        if buffer is None:
            arguments.append(_SYMBOLIC_EXTENT)
            continue
        shape = [int(d) if isinstance(d, int | tvm.tirx.IntImm) else _SYMBOLIC_EXTENT for d in buffer.shape]
        arguments.append(tvm.runtime.tensor(_random(shape, str(buffer.dtype), random)))
    return arguments


def _random(shape: list[int], dtype: str, random: np.random.Generator) -> np.ndarray:
    """Values that any op accepts: indices stay below two, floats are normal."""
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.startswith(("int", "uint")):
        return random.integers(0, 2, shape).astype(dtype)
    return random.standard_normal(shape, dtype=np.float32).astype(dtype)
