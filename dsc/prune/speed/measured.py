"""Two models, compiled and timed in turns on this machine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from dsc.bench.contenders import module_contender
from dsc.bench.timing import interleave
from dsc.pipeline import compile_model
from dsc.runtime import Module
from dsc.targets import AnyTarget


class Measured:
    """How many times as fast models are as a slow one, which is compiled once. inputs: of a run, by name."""

    def __init__(self, slow: onnx.ModelProto, target: AnyTarget, inputs: Mapping[str, np.ndarray]) -> None:
        self._target, self._inputs, self._slow = target, inputs, slow
        self._module: Module | None = None

    def __call__(self, fast: onnx.ModelProto) -> float:
        """By medians. Raises what compiling raises."""
        if self._module is None:
            self._module = self._compiled(self._slow)
        modules = {"slow": self._module, "fast": self._compiled(fast)}
        timings = interleave({name: module_contender(module, self._inputs) for name, module in modules.items()})
        return timings["slow"].median / timings["fast"].median

    def _compiled(self, model: onnx.ModelProto) -> Module:
        shapes = {name: list(array.shape) for name, array in self._inputs.items()}
        return compile_model(model, target=self._target, shapes=shapes).model.load()
