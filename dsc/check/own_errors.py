"""What each layer of a quantized model gets wrong by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from dsc.check.deviation import Deviation, Deviations
from dsc.check.intermediates import Intermediates
from dsc.check.layer_match import Layer
from dsc.check.reference import Reference
from dsc.errors import UnsupportedModelError, UsageError
from dsc.ir import element_of_dtype

Feed = Mapping[str, np.ndarray]


class OwnErrors:
    """Runs each layer's float nodes on what the quantized model gives to the layer."""

    def __init__(self, model: Intermediates, layers: Sequence[Layer]) -> None:
        self._model = model
        self._by_result: defaultdict[str, list[Layer]] = defaultdict(list)
        for layer in layers:
            if layer.nodes:
                self._by_result[layer.stands_for_it].append(layer)
        self._uses = Counter(name for layer in layers for name in layer.reads.values())
        self._sessions: dict[str, Reference] = {}
        self._errors: defaultdict[str, Deviations] = defaultdict(Deviations)
        self._refused: dict[str, str] = {}
        self._left: Counter[str] = Counter()
        self._values: dict[str, np.ndarray] = {}

    def start(self, inputs: Feed) -> None:
        """Forget the run before this one."""
        self._left, self._values = Counter(self._uses), dict(inputs)

    def add(self, name: str, array: np.ndarray) -> None:
        """A tensor of the quantized model; those that a layer reads come before its result."""
        self._values[name] = array
        for layer in self._by_result.get(name, ()):
            given = {read: self._values[it] for read, it in layer.reads.items() if it in self._values}
            if len(given) == len(layer.reads) and layer.tensor not in self._refused:
                self._run(layer, given, array)
            self._left.subtract(layer.reads.values())
            for it in layer.reads.values():
                if not self._left[it]:
                    self._values.pop(it, None)
        if not self._left[name]:
            self._values.pop(name, None)

    def _run(self, layer: Layer, given: Feed, actual: np.ndarray) -> None:
        try:
            if layer.tensor not in self._sessions:
                codes = {name: element_of_dtype(array.dtype).code for name, array in given.items()}
                self._sessions[layer.tensor] = self._model.session(layer.nodes, codes, [layer.tensor], 1)
            expected = self._sessions[layer.tensor].run(given)[layer.tensor]
        except (UsageError, UnsupportedModelError) as error:
            self._refused[layer.tensor] = str(error)
            return
        if expected.shape == actual.shape:
            self._errors[layer.tensor].add(expected, actual)

    @property
    def notes(self) -> tuple[str, ...]:
        """Layers that do not run by themselves, and why."""
        return tuple(f"the own error of {name} is not known: {why}" for name, why in self._refused.items())

    def results(self) -> dict[str, Deviation]:
        """The errors so far, by tensor."""
        return {name: found.result() for name, found in self._errors.items()}
