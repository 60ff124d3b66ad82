"""Timing one implementation by itself: fresh random data, all cores, median of several runs."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from dsc.codegen.single import load_kernel
from dsc.host import usable_cores
from dsc.lower.nominal import NOMINAL, nominal
from dsc.lower.workload import Workload
from dsc.runtime.devices import Device
from dsc.targets import AnyTarget, Implementation
from dsc.targets.machine import Machine
from dsc.tune.sparse_weights import sparse_arguments

_WARM_UP = 2
_RUNS = (3, 200)
_QUEUED_SECONDS = 1e-3
"""Of launches between two waits: a launch and a wait take some 10 us, and kernels that are to be ranked 3 us."""
_QUEUED = 100
"""Launches between two waits, at most."""

Arguments: TypeAlias = "list[object]"


def measure(
    implementation: Implementation,
    target: AnyTarget,
    device: Device,
    seconds: float = 0.05,
    seed: int = 0,
    workload: Workload | None = None,
) -> float:
    """Median seconds of a run on all cores that this process may use, as in a model.

    About `seconds` are spent running, after a warm-up that also fills the caches as a loop over a model would not:
    the figure ranks candidates of one workload and is not a share of a model's latency. Where launches are queued,
    several are timed between two waits, one after the other on tensors of their own, as many as no cache has.
    workload: what is computed: its sparse weights are as its types say then, and as many floats are 0 as it expects.
    """
    function = load_kernel(implementation.func, target.backend(), device, usable_cores())
    random = np.random.default_rng(seed)
    host = _arguments(implementation.func, random, 0.0 if workload is None else workload.expected_zeros)
    if workload is not None:
        for position, array in sparse_arguments(workload, implementation, random).items():
            host[position] = array
    given = [_on(device, host)]
    once = min(_run(function, device, given) for _ in range(_WARM_UP))
    if device.queues:
        launches = int(np.clip(math.ceil(_QUEUED_SECONDS / once), 1, _QUEUED))
        size = sum(array.nbytes for array in host if isinstance(array, np.ndarray))
        copies = [_on(device, host) for _ in range(1, _sets(target.machine, size, launches))]
        given = list(itertools.islice(itertools.cycle([*given, *copies]), launches))
        once = _run(function, device, given)
    runs = int(np.clip(seconds / once, *_RUNS))
    return statistics.median(_run(function, device, given) for _ in range(runs)) / len(given)


def _run(function: tvm_ffi.Function, device: Device, given: Sequence[Arguments]) -> float:
    """Seconds of a launch for each of the arguments that are given, until all are done."""
    started = time.perf_counter()
    for arguments in given:
        function(*arguments)
    device.synchronize()
    return time.perf_counter() - started


def _sets(machine: Machine, size: int, most: int) -> int:
    """Sets of tensors of `size` bytes that one after the other come from memory; `most` where caches hold these."""
    from_memory = machine.bandwidth(math.inf, machine.cores)
    counts = range(1, most)
    return next((n for n in counts if machine.bandwidth(n * size, machine.cores) == from_memory), most)


def _arguments(func: tirx.PrimFunc, random: np.random.Generator, zeros: float) -> Arguments:
    """Arrays for the parameters that are buffers, numbers for the others; of nominal sizes."""
    return [
        _random([nominal(d) for d in p.shape], str(p.dtype), random, zeros) if tirx.is_buffer_var(p) else NOMINAL
        for p in func.params
    ]


def _on(device: Device, arguments: Arguments) -> Arguments:
    """The arguments with tensors of the device, aligned as a model's."""
    return [tvm.runtime.tensor(given, device.handle) if isinstance(given, np.ndarray) else given for given in arguments]


def _random(shape: list[int], dtype: str, random: np.random.Generator, zeros: float) -> np.ndarray:
    """Values that any op accepts: indices stay below two, floats are normal."""
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.startswith(("int", "uint")):
        return random.integers(0, 2, shape).astype(dtype)
    values = random.standard_normal(shape).astype(dtype)
    if zeros:
        values[random.random(shape) < zeros] = 0
    return values
