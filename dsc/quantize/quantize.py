"""Quantizing a model with static scales: calibrate, measure, decide, and say why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnx

from dsc.errors import BudgetError, UnsupportedModelError, UsageError
from dsc.exchange import ModelSource
from dsc.files import writing
from dsc.quantize.calibration import Feed, Range, calibrate
from dsc.quantize.evaluation import checked
from dsc.quantize.insert import grids_of, needed_ranges, quantized_model
from dsc.quantize.kept_samples import KeptSamples
from dsc.quantize.kernels import slower_in_bytes
from dsc.quantize.layers import Layer, count_macs, find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.prepare import prepare
from dsc.quantize.quantized_layer import quantize_layer
from dsc.quantize.report import Accuracy, LayerReport, Report
from dsc.quantize.search import Search
from dsc.quantize.sensitivity import Sensitivity, measure
from dsc.quantize.session import Run, output_decibels, runner
from dsc.targets import AnyTarget
from dsc.targets import target as named_target

Evaluate: TypeAlias = Callable[[Run], float]
"""Takes what runs a model, gives a number: larger is better, a share of 1 for an accuracy."""

Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Quantized:
    """model: QDQ ONNX, with the names of the float model. report: what became of each layer."""

    model: onnx.ModelProto
    report: Report

    def save(self, path: str | Path) -> None:
        """Write the model as an ONNX file, whole or not at all. Raises UsageError where it cannot be written."""
        with writing(Path(path)) as file:
            file.write(self.model.SerializeToString())


def quantize(
    model: ModelSource,
    calibration: Iterable[Feed],
    *,
    calibrator: str = "minmax",
    policy: Policy | None = None,
    evaluate: Evaluate | None = None,
    max_accuracy_drop: float | None = None,
    target: str | AnyTarget | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Make a model one of bytes, with static scales.

    calibration: inputs by name, as they are in use; read once. calibrator: how ranges come from what is seen. policy:
    layers that stay in float, or in bytes whatever it costs, and the scheme. evaluate, max_accuracy_drop: as many of
    the most sensitive layers stay in float as it takes for `evaluate` to give no less than for the float model, less
    that. target: layers that dsc computes no faster in bytes on that machine stay in float.
    Raises UsageError for data the model does not take, and unknown names; BudgetError where the accuracy is not
    reached, with the best that was; UnsupportedModelError where there is nothing to quantize.
    """
    if max_accuracy_drop is not None and evaluate is None:
        raise UsageError("an accuracy drop is allowed, and nothing says what the accuracy is: give an evaluation")
    onto = named_target(target) if isinstance(target, str) else target
    evaluate = None if evaluate is None else checked("the evaluation", evaluate)
    work = _Work(Network(prepare(model)), policy or Policy(), onto, progress or _silent)
    work.look_at(calibration, calibrator)
    if evaluate is None or max_accuracy_drop is None:
        accuracy = None if evaluate is None else _compared(work, evaluate)
        return work.result(0, accuracy)
    return _within(work, evaluate, max_accuracy_drop)


def _compared(work: _Work, evaluate: Evaluate) -> Accuracy:
    return Accuracy(evaluate(runner(work.network.model)), evaluate(runner(work.model(0))), 1)


def _within(work: _Work, evaluate: Evaluate, drop: float) -> Quantized:
    """The model with the fewest layers in float that loses no more than `drop`."""
    if not 0 <= drop < math.inf:
        raise UsageError(f"an accuracy drop of {drop} was asked for; expected a number that is not negative")
    work.tell("evaluate", 0, 0)
    base = evaluate(runner(work.network.model))
    search = Search(lambda count: evaluate(runner(work.model(count))), base - drop)
    count = search.fewest(work.most_in_float)
    tried = len(search.tried)
    if count is None:
        best, found = search.best
        raise BudgetError(
            f"no more than {drop:g} may be lost of {base:.4f}: with {best} of {len(work.open)} layers in float it is "
            f"{found:.4f}, a loss of {base - found:.4f}, and that is the best of {tried} evaluations; allow a larger "
            f"drop, more calibration data, another calibrator, or float for {work.required or 'all layers'}"
        )
    return work.result(count, Accuracy(base, search.tried[count], tried))


class _Work:
    """What is known of a model on the way: its layers, their ranges and sensitivities."""

    def __init__(self, network: Network, policy: Policy, target: AnyTarget | None, tell: Progress) -> None:
        self.network, self.tell = network, tell
        self._scheme, self._target = policy.scheme, target
        self._layers = find_layers(network)
        self._rules = policy.decisions(network, self._layers)
        self._ranges: Mapping[str, Range] = {}
        self._samples: KeptSamples
        self._sensitivities: Mapping[str, Sensitivity] = {}
        self._macs: Mapping[str, int] = {}
        self._slower: Mapping[str, str] = {}
        if not self._candidates:
            why = "; ".join(sorted({f"{layer.op}: {self._refusal(layer)}" for layer in self._layers})) or "no products"
            raise UnsupportedModelError(f"there is nothing to quantize in the model: {why}")

    def look_at(self, calibration: Iterable[Feed], calibrator: str) -> None:
        """Find the ranges, and what quantizing each layer costs."""
        self._samples = KeptSamples(calibration)
        known = [layer for layer in self._layers if layer.refusal is None]
        tensors = needed_ranges(self.network, known)
        (self._ranges,) = calibrate(
            self.network.model, self._samples, [calibrator], tensors, on_progress=self._counted("calibrate")
        ).values()
        kept = self._samples.kept
        self._sensitivities, shapes = measure(
            self.network, self._layers, kept, self._ranges, self._scheme,
            on_progress=lambda done: self.tell("measure layers", done, len(kept)),
        )  # fmt: skip
        self._macs = count_macs(self.network, self._layers, shapes)
        if self._target is not None:
            layers, free = self._candidates, [layer for layer in self._candidates if layer.name not in self._rules]
            grids = grids_of(self.network, layers, self._ranges, self._scheme)
            quantized = [quantize_layer(self.network, layer, grids[layer.data], self._scheme) for layer in free]
            self._slower = slower_in_bytes(
                self.network, quantized, shapes, self._target,
                on_progress=lambda done: self.tell("estimate kernels", done, len(quantized)),
            )  # fmt: skip

    @property
    def open(self) -> list[Layer]:
        """The layers for which accuracy decides, the most sensitive first."""
        free = [layer for layer in self._candidates if layer.name not in self._rules]
        return sorted(free, key=lambda layer: self._decibels(layer.name))

    @property
    def required(self) -> str:
        """The layers that a policy wants in bytes, for messages."""
        return ", ".join(name for name, rule in self._rules.items() if rule.keep == "int8")

    @property
    def most_in_float(self) -> int:
        """How many layers may be made float: something must remain."""
        return len(self.open) - (0 if self.required else 1)

    def model(self, count: int) -> onnx.ModelProto:
        """The quantized model, so many of the most sensitive layers in float."""
        kept = {layer.name for layer in self.open[:count]}
        layers = [layer for layer in self._candidates if layer.name not in kept]
        shifts = {name: found.offset for name, found in self._sensitivities.items()}
        scheme = self._scheme
        return quantized_model(self.network, layers, self._ranges, scheme, shifts if scheme.corrects_bias else None)

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        """The quantized model, and what became of each layer."""
        model = self.model(count)
        decibels = output_decibels(runner(self.network.model), runner(model), self._samples.kept)
        kept = {layer.name for layer in self.open[:count]}
        layers = tuple(self._report(layer, layer.name in kept) for layer in self._layers)
        return Quantized(model, Report(layers, decibels, accuracy))

    @property
    def _candidates(self) -> list[Layer]:
        """The layers that may be in bytes, in the model's order."""
        return [layer for layer in self._layers if self._refusal(layer) is None]

    def _refusal(self, layer: Layer) -> str | None:
        rule = self._rules.get(layer.name)
        if layer.refusal is not None:
            return layer.refusal
        if rule is not None:
            return None if rule.keep == "int8" else f"the policy keeps {rule} in float"
        return self._slower.get(layer.name)

    def _report(self, layer: Layer, is_kept: bool) -> LayerReport:
        refusal, rule = self._refusal(layer), self._rules.get(layer.name)
        reason = refusal or ("too sensitive for the accuracy asked for" if is_kept else "")
        if rule is not None and refusal is None:
            reason = f"the policy keeps {rule} in bytes"
        snr = None if layer.refusal is not None else self._decibels(layer.name)
        return LayerReport(layer.name, layer.op, self._macs[layer.name], snr, not is_kept and refusal is None, reason)

    def _decibels(self, name: str) -> float:
        return self._sensitivities[name].decibels(self._scheme.corrects_bias)

    def _counted(self, phase: str) -> Callable[[int], None]:
        return lambda done: self.tell(phase, done, 0)


def _silent(phase: str, done: int, total: int) -> None:
    """The progress of nobody watching."""
