"""Numbers in kernels are those of the model to the last bit, though TVM writes them as text."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import constant
from dsc.simulator import simulated_cuda, simulated_rocm
from dsc.targets.gpu.launch import launch
from dsc.targets.tir.loops import Loops, argument, function
from tests.targets.cuda.simulated import backend, device, library

SEED = random.SystemRandom().randrange(1 << 30)


def writing(values: np.ndarray) -> tirx.PrimFunc:
    """A kernel that knows these numbers, and writes them."""
    dtype = values.dtype.name
    with function() as made:
        out = argument("out0", values.shape, dtype)
        with launch(1, 32, Loops.over([])):
            for i, value in enumerate(values.tolist()):
                T.buffer_store(out, constant(value, dtype), [i])
    return made.get()


def numbers(dtype: str) -> np.ndarray:
    """Of all magnitudes, the least and the largest ones, special ones, and some as people write them."""
    draw, info = np.random.default_rng(SEED), np.finfo(dtype)
    least = [info.smallest_subnormal, info.tiny, info.max, 0.0]
    some = [1e-3, 1e-12 if dtype != "float16" else 1e-5, 1 / 3, np.pi, 2.0**-14, 0.5, 7.0]
    span = np.log2(float(info.max)) - 1
    drawn = draw.standard_normal(24) * np.exp2(draw.uniform(-span, span / 2, 24))
    found = np.concatenate([least, some, drawn]).astype(dtype)
    return np.concatenate([found, -found, np.array([np.inf, -np.inf, np.nan], dtype)])


@pytest.mark.parametrize("arch", ["sm_80", "gfx942"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_number_is_exact(dtype: str, arch: str) -> None:
    print(f"seed {SEED}", flush=True)
    values = numbers(dtype)
    with (simulated_rocm if arch.startswith("gfx") else simulated_cuda)(arch) as simulation:
        code = library({"k": writing(values)}, backend(simulation))
        found = tvm.runtime.tensor(np.full_like(values, 77), device(simulation))
        code["k"](found)
    np.testing.assert_array_equal(found.numpy(), values)
    np.testing.assert_array_equal(np.signbit(found.numpy()[:-1]), np.signbit(values[:-1]))
