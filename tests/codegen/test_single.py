"""One kernel by itself."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import tvm

from dsc.codegen.single import load_kernel
from dsc.runtime.devices import device
from tests.codegen.reference import HOST
from tests.runtime.artifacts import COLUMNS, add_rows
from tests.runtime.threads import ended, new_threads, threads_of_this_process


@pytest.mark.parametrize("threads", [1, 3])
def test_it_runs_with_its_own_threads_which_end_with_it(threads: int) -> None:
    before = threads_of_this_process()
    kernel = load_kernel(add_rows(), HOST.backend(), device("cpu", "test"), threads)
    own = new_threads(before, threads - 1)
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in [(9, COLUMNS), (COLUMNS,), (9, COLUMNS)]]
    a, b, c = map(tvm.runtime.tensor, arrays)
    kernel(a, b, c)
    np.testing.assert_array_equal(c.numpy(), arrays[0] + arrays[1])
    del kernel
    gc.collect()
    assert ended(own)
