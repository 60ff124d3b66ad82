"""Static scales: ranges by calibration, what each layer costs by measurement, biases corrected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from dsc.errors import UnsupportedModelError
from dsc.quantize.calibration import Feed, Range, Samples, calibrate
from dsc.quantize.insert import grids_of, needed_ranges, quantized_model
from dsc.quantize.kept_samples import KeptSamples
from dsc.quantize.kernels import slower_in_bytes
from dsc.quantize.layers import Layer, count_macs, find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.quantized import Accuracy, LayerReport, Quantized, Report
from dsc.quantize.quantized_layer import quantize_layer
from dsc.quantize.rescale import rescale
from dsc.quantize.rounding import round_adaptively
from dsc.quantize.sensitivity import Sensitivity, measure
from dsc.quantize.session import output_decibels, runner
from dsc.quantize.work import Progress
from dsc.targets import AnyTarget


class StaticWork:
    """A model on the way to static scales: its layers, their ranges and sensitivities.

    Raises UsageError for names in the policy that are none, UnsupportedModelError where there is nothing to quantize.
    """

    def __init__(self, model: onnx.ModelProto, policy: Policy, target: AnyTarget | None, tell: Progress) -> None:
        self.float_model, self._network, self._tell = model, Network(model), tell
        self._scheme, self._target = policy.scheme, target
        self._layers = find_layers(self._network)
        self._rules = policy.decisions(self._network, self._layers)
        self._ranges: Mapping[str, Range] = {}
        self._samples: KeptSamples
        self._sensitivities: Mapping[str, Sensitivity] = {}
        self._before: Mapping[str, Sensitivity] = {}
        """Without any of the scheme's methods; empty where it has none but smoothing."""
        self._notes: Mapping[str, Sequence[str]] = {}
        self._factors: Mapping[str, np.ndarray] = {}
        self._rounded: Mapping[str, np.ndarray] = {}
        self._macs: Mapping[str, int] = {}
        self._slower: Mapping[str, str] = {}
        if not self._candidates:
            why = "; ".join(sorted({f"{layer.op}: {self._refusal(layer)}" for layer in self._layers})) or "no products"
            raise UnsupportedModelError(f"there is nothing to quantize in the model: {why}")

    def look_at(self, calibration: Iterable[Feed], calibrator: str) -> None:
        """Make what is better before it is quantized, find the ranges, and what quantizing each layer costs."""
        self._samples = KeptSamples(calibration)
        if self._scheme.equalizes or self._scheme.rounding != "nearest":
            self._before = self._plain(calibrator)
        self._rescale()
        known = [layer for layer in self._layers if layer.refusal is None]
        tensors = needed_ranges(self._network, known)
        count = (calibration.count if isinstance(calibration, Samples) else None) or 0
        (self._ranges,) = calibrate(
            self._network.model, self._samples, [calibrator], tensors,
            on_progress=lambda done: self._tell("calibrate", done, count),
        ).values()  # fmt: skip
        kept = self._samples.kept
        grids = grids_of(self._network, known, self._ranges, self._scheme)
        if self._scheme.rounding == "adaptive":
            self._rounded = round_adaptively(
                self._network, self._candidates, kept, grids, self._scheme,
                on_progress=lambda done, all_: self._tell("round weights", done, all_),
            )  # fmt: skip
        self._sensitivities, shapes = measure(
            self._network, self._layers, kept, self._ranges, self._scheme,
            rounded=self._rounded, factors=self._factors,
            on_progress=lambda done: self._tell("measure layers", done, len(kept)),
        )  # fmt: skip
        self._macs = count_macs(self._network, self._layers, shapes)
        if self._target is not None:
            free = [layer for layer in self._candidates if layer.name not in self._rules]
            quantized = [quantize_layer(self._network, layer, grids[layer.data], self._scheme) for layer in free]
            self._slower = slower_in_bytes(
                self._network, quantized, shapes, self._target,
                on_progress=lambda done: self._tell("estimate kernels", done, len(quantized)),
            )  # fmt: skip

    def _plain(self, calibrator: str) -> Mapping[str, Sensitivity]:
        """What quantizing each layer costs without any of the scheme's methods."""
        kept = self._samples.first
        known = [layer for layer in self._layers if layer.refusal is None]
        (ranges,) = calibrate(
            self._network.model, kept, [calibrator], needed_ranges(self._network, known),
            on_progress=lambda done: self._tell("calibrate without methods", done, len(kept)),
        ).values()  # fmt: skip
        found, _ = measure(
            self._network, self._layers, kept, ranges, self._scheme.plain,
            on_progress=lambda done: self._tell("measure without methods", done, len(kept)),
        )  # fmt: skip
        return found

    def _rescale(self) -> None:
        """Scale channels as the scheme says: the model is another one then, of the same function."""
        kept = self._samples.first
        change = rescale(
            self._network, self._layers, kept, self._scheme,
            on_progress=lambda done: self._tell("scale channels", done, len(kept)),
        )  # fmt: skip
        self._network, self._notes, self._factors = Network(change.model), change.notes, change.factors
        self._layers = find_layers(self._network)

    @property
    def open_layers(self) -> int:
        return len(self._open)

    @property
    def _open(self) -> list[Layer]:
        """The layers for which accuracy decides, the most sensitive first."""
        free = [layer for layer in self._candidates if layer.name not in self._rules]
        return sorted(free, key=lambda layer: self._decibels(layer))

    @property
    def required(self) -> str:
        return ", ".join(layer.name for layer in self._candidates if layer.name in self._rules)

    def model(self, count: int) -> onnx.ModelProto:
        kept = {layer.name for layer in self._open[:count]}
        layers = [layer for layer in self._candidates if layer.name not in kept]
        shifts = {name: found.offset for name, found in self._sensitivities.items()}
        corrections = shifts if self._scheme.corrects_bias else None
        return quantized_model(self._network, layers, self._ranges, self._scheme, corrections, self._rounded)

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        model = self.model(count)
        decibels = output_decibels(runner(self.float_model), runner(model), self._samples.kept)
        kept = {layer.name for layer in self._open[:count]}
        layers = tuple(self._report(layer, layer.name in kept) for layer in self._layers)
        return Quantized(model, Report(layers, decibels, accuracy, "multiply-adds"))

    @property
    def _candidates(self) -> list[Layer]:
        """The layers that may be in bytes, in the model's order."""
        return [layer for layer in self._layers if self._refusal(layer) is None]

    def _refusal(self, layer: Layer) -> str | None:
        rule = self._rules.get(layer.name)
        if layer.refusal is not None:
            return layer.refusal
        if rule is not None:
            return None if rule.keep == "int8" else f"the policy keeps {rule} in {rule.keep}"
        return self._slower.get(layer.name)

    def _report(self, layer: Layer, is_kept: bool) -> LayerReport:
        refusal, rule = self._refusal(layer), self._rules.get(layer.name)
        reason = refusal or ("too sensitive for the accuracy asked for" if is_kept else "")
        if rule is not None and refusal is None:
            reason = f"the policy keeps {rule} in bytes"
        is_quantized = not is_kept and refusal is None
        size = self._macs[layer.name]
        if layer.refusal is not None:
            return LayerReport(layer.name, layer.op, size, None, is_quantized, reason)
        snr, before = self._decibels(layer), self._before.get(layer.name)
        gain = None if before is None else snr - before.decibels(self._is_corrected(layer))
        notes = (*self._notes.get(layer.name, ()), *(["rounded"] if layer.name in self._rounded else []))
        return LayerReport(layer.name, layer.op, size, snr, is_quantized, reason, methods=notes, gain=gain)

    def _decibels(self, layer: Layer) -> float:
        return self._sensitivities[layer.name].decibels(self._is_corrected(layer))

    def _is_corrected(self, layer: Layer) -> bool:
        return self._scheme.corrects_bias and layer.takes_shift
