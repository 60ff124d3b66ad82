"""A quantized model against its float model, layer by layer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import onnx

from dsc.check.deviation import Deviation, Deviations
from dsc.check.emulated import HALF_PRECISION, emulated
from dsc.check.interface import input_specs
from dsc.check.intermediates import Intermediates
from dsc.check.layer_match import match_layers, unmatched
from dsc.check.own_errors import OwnErrors
from dsc.check.stability import Tell
from dsc.errors import UsageError
from dsc.runtime.inputs import checked_inputs

Feed = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class LayerError:
    """What one tensor of the quantized model differs by from the float model's of the same name.

    accumulated: on the same inputs of the model, so that it holds the errors of all layers before. own: what the float
    nodes give on what the layer was given in the quantized model, against what the layer gives; None where that is not
    known.
    """

    tensor: str
    op: str
    node: str
    accumulated: Deviation
    own: Deviation | None


@dataclass(frozen=True)
class LayerReport:
    """The errors of the layers, in the model's order. unmatched: how many tensors have no counterpart."""

    layers: tuple[LayerError, ...]
    samples: int
    unmatched: int
    notes: tuple[str, ...] = ()

    @property
    def worst_first(self) -> list[LayerError]:
        """The layers by the signal-to-noise ratio of their accumulated error."""
        return sorted(self.layers, key=lambda layer: layer.accumulated.snr)

    @property
    def worst_own_first(self) -> list[LayerError]:
        """The layers whose own error is known, and is one, by its signal-to-noise ratio: where errors come from."""
        known = [(layer.own.snr, layer) for layer in self.layers if layer.own is not None and layer.own.snr < math.inf]
        return [layer for _, layer in sorted(known, key=lambda pair: pair[0])]


def compare_layers(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    samples: Sequence[Feed],
    threads: int | None = None,
    *,
    progress: Tell | None = None,
) -> LayerReport:
    """Run both models in ONNX Runtime and compare the float tensors that have one name in both.

    What is in half precision in the quantized model is float32 there, rounded after each operator.
    samples: inputs by name, at least one. threads: cores a run uses, all if None. progress: told what is done, and of
    how much. Raises UsageError where the models do not take the same inputs or share no names, and where the inputs
    do not fit.
    """
    specs = input_specs(model)
    if [(s.name, s.dtype) for s in specs] != [(s.name, s.dtype) for s in input_specs(quantized)]:
        theirs = ", ".join(map(str, input_specs(quantized)))
        raise UsageError(f"the quantized model takes {theirs}; the float model {', '.join(map(str, specs))}")
    comparison = _Comparison(model, emulated(quantized, HALF_PRECISION), threads)
    for done, sample in enumerate(samples):
        if progress is not None:
            progress("compare layers", done, len(samples))
        comparison.add(dict(zip((s.name for s in specs), checked_inputs(specs, sample), strict=True)))
    return comparison.report(len(samples))


class _Comparison:
    def __init__(self, model: onnx.ModelProto, quantized: onnx.ModelProto, threads: int | None) -> None:
        self._layers = list(match_layers(model, quantized))
        inputs = {spec.name for spec in input_specs(quantized)}
        made = inputs | {name for node in quantized.graph.node for name in node.output}
        read = {name for layer in self._layers for name in layer.reads.values()} & made
        self._model = Intermediates(model, [layer.tensor for layer in self._layers], threads)
        self._quantized = Intermediates(quantized, read.union(x.stands_for_it for x in self._layers), threads)
        self._own = OwnErrors(self._model, self._layers)
        self._errors: defaultdict[str, Deviations] = defaultdict(Deviations)
        self._unlike: set[str] = set()
        self._unmatched = unmatched(model, self._layers)

    def add(self, inputs: Feed) -> None:
        """Count the tensors of one run in. Both models run side by side; what has no partner yet waits for it."""
        standing = {layer.stands_for_it: layer.tensor for layer in self._layers}
        expected: dict[str, np.ndarray] = {}
        actual: dict[str, np.ndarray] = {}
        self._own.start(inputs)
        for ours, theirs in zip_longest(self._model.tensors(inputs), self._quantized.tensors(inputs)):
            if ours is not None:
                expected[ours[0]] = ours[1]
                self._compare(ours[0], expected, actual)
            if theirs is not None:
                self._own.add(*theirs)
                if theirs[0] in standing:
                    actual[standing[theirs[0]]] = theirs[1]
                    self._compare(standing[theirs[0]], expected, actual)

    def _compare(self, tensor: str, expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> None:
        if tensor not in expected or tensor not in actual:
            return
        x, y = expected.pop(tensor), actual.pop(tensor)
        if x.shape == y.shape:
            self._errors[tensor].add(x, y)
        else:
            self._unlike.add(tensor)

    def report(self, samples: int) -> LayerReport:
        """The errors so far."""
        errors = {name: found.result() for name, found in self._errors.items() if name not in self._unlike}
        if not errors:
            raise UsageError("the quantized model has no float tensor of the float model's names: are they one model?")
        own, layers = self._own.results(), []
        for layer in self._layers:
            if layer.tensor in errors:
                found = own.get(layer.tensor) if layer.nodes else errors[layer.tensor]
                layers.append(LayerError(layer.tensor, layer.op, layer.node, errors[layer.tensor], found))
        notes = [f"{name} has another shape in the quantized model" for name in sorted(self._unlike)]
        return LayerReport(tuple(layers), samples, self._unmatched, (*notes, *self._own.notes))
