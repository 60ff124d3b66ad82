"""Runs whose launches a GPU gets as one graph, instead of one by one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tvm

CAPTURE = "dsc_capture"
"""The function of a library that captures launches: targets/gpu/graphs/capture.c says what it does."""
SWITCH = "DSC_GRAPHS"
"""The environment variable by whose value 0 kernels are launched one by one."""

Run: TypeAlias = "Callable[..., Sequence[tvm.runtime.Tensor]]"
"""The function of a model: from the tensors of its inputs to those of its outputs."""


def wanted() -> bool:
    """Whether the user has not switched graphs off."""
    return os.environ.get(SWITCH) != "0"


class CapturedRun:
    """A model's function that is captured when it is called for the second time, and launched as a graph from then on.

    The first call launches kernels one by one: it loads their code, which is not to be captured, and who runs a model
    once does not pay for a graph. All calls must be given the same tensors, whose elements may change; the results of
    captured ones are the same tensors too. Used by one thread at a time.
    """

    def __init__(self, library: tvm.runtime.Module, set_instrument: object, run: Run) -> None:
        """`set_instrument`: of the virtual machine that `run` is a function of."""
        self._run, self._set_instrument = run, set_instrument
        self._has_run = self._is_refused = False
        # in this order: what is freed with the graph is code of the library
        self._launch: Run | None = None
        self._library = library

    def __call__(self, *tensors: tvm.runtime.Tensor) -> Sequence[tvm.runtime.Tensor]:
        """The results of `run`."""
        if self._launch is None and self._has_run and not self._is_refused:
            self._capture(tensors)
        if self._launch is not None:
            return self._launch()
        results = self._run(*tensors)
        self._has_run = True
        return results

    def _capture(self, tensors: Sequence[tvm.runtime.Tensor]) -> None:
        """Nothing is lost but time where the driver refuses, so that is no error; it is told once."""
        capture = self._library.get_function(CAPTURE, query_imports=True)
        try:
            self._launch = capture(self._set_instrument, self._run, *tensors)
        except (RuntimeError, MemoryError) as error:
            self._is_refused = True
            warnings.warn(
                f"a run's launches cannot be captured as a graph, kernels are launched one by one: {error} "
                f"({SWITCH}=0 does so without trying)",
                RuntimeWarning,
                stacklevel=2,
            )
