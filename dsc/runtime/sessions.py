"""One virtual machine per run in flight, and the tensors it copies inputs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tvm
import tvm_ffi
from tvm.relax import VirtualMachine

from dsc.elements import stored
from dsc.runtime.checks import SizeCheck, check_indices
from dsc.runtime.devices import Device, Staging
from dsc.runtime.graphs import CapturedRun, Run
from dsc.runtime.manifest import Checks, TensorSpec

MAIN = "main"
"""The function of the compiled library that computes the model."""
_BOUND = "main with weights"

Extent: TypeAlias = tuple[int, int]
"""Addresses where memory begins and ends."""


class Session:
    """A virtual machine with the weights bound. Used by one thread at a time."""

    def __init__(
        self,
        library: tvm.runtime.Module,
        device: Device,
        parameters: Sequence[tvm.runtime.Tensor],
        allocator: str,
        inputs: Sequence[TensorSpec],
        checks: Checks,
        captures: bool = False,
    ) -> None:
        """`captures`: launch the kernels of a run as one graph; all of its runs have inputs of the same sizes then."""
        self._device, self._inputs, self._checks = device, inputs, checks
        self._check_sizes = SizeCheck(library, checks, inputs)
        self._machine = VirtualMachine(library, device.handle, allocator)
        self._machine.save_function(MAIN, _BOUND, *parameters)
        self._run = self._machine[_BOUND]
        self._call: Run = self._run
        if captures:
            self._call = CapturedRun(library, self._machine.module["set_instrument"], self._run)
        self.arity = int(self._machine.module["get_function_arity"](MAIN))
        """How many inputs and weights the code takes."""
        self._staging = [Staging() for _ in inputs]

    def __call__(self, inputs: Sequence[np.ndarray]) -> tuple[list[Extent], list[tvm.runtime.Tensor]]:
        """Run: where the inputs lie, and the outputs, which may share memory with them.

        Raises `UsageError` where sizes do not fit or an index is outside of its tensor.
        """
        self._check_sizes(inputs)
        put = self._device.put
        tensors = [put(stored(array), staging) for array, staging in zip(inputs, self._staging, strict=True)]
        results = list(self._call(*tensors)[:])  # a slice is a list already where TVM gives the results
        if self._checks.indices:
            check_indices(self._device.get(results.pop()), self._checks, self._inputs)
        return [(t.data_ptr(), t.data_ptr() + a.nbytes) for t, a in zip(tensors, inputs, strict=True)], results

    def set_instrument(self, callback: object) -> None:
        """Call back around each instruction (see `tvm.relax.VirtualMachine.set_instrument`); graphs have none."""
        self._call = self._run
        self._machine.set_instrument(callback)


class SessionPool:
    """Sessions on one loaded library: each run borrows one, and as many exist as runs were ever in flight."""

    def __init__(
        self,
        library: tvm.runtime.Module,
        device: Device,
        parameters: Sequence[tvm.runtime.Tensor],
        inputs: Sequence[TensorSpec],
        checks: Checks,
        captures: bool = False,
    ) -> None:
        """`captures`: see `Session`."""
        self._library, self._device, self._parameters = library, device, parameters
        self._inputs, self._checks, self._captures = inputs, checks, captures
        static = all(isinstance(dim, int) for spec in inputs for dim in spec.shape)
        # TVM's pool keeps every size it ever gave out, which is right for one set of sizes and a leak for many.
        self._allocator = "pooled" if static else "naive"
        self._idle: list[Session] = []

    def take(self) -> Session:
        """A session nobody else uses until it is given back."""
        try:
            return self._idle.pop()  # of lists, `pop` and `append` are atomic
        except IndexError:
            return self.new()

    def give_back(self, session: Session) -> None:
        """Let other runs have it; one whose run failed is left to be freed, but for inputs that did not fit."""
        self._idle.append(session)

    def new(self) -> Session:
        """A session outside the pool."""
        return Session(
            self._library,
            self._device,
            self._parameters,
            self._allocator,
            self._inputs,
            self._checks,
            self._captures,
        )

    def function(self, name: str) -> tvm_ffi.Function:
        """A function of the library by its name."""
        found: tvm_ffi.Function = self._library.get_function(name, query_imports=True)
        return found
