"""Half precision beside another scheme: "attention stays fp16, the rest int8"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from dsc.quantize.calibration import Range, calibrate
from dsc.quantize.halves import HALVES
from dsc.quantize.kept_samples import KeptSamples
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.quantized import Accuracy, LayerReport, Quantized
from dsc.quantize.reduced.convert import in_half
from dsc.quantize.reduced.plan import HalfPlan
from dsc.quantize.session import output_decibels, runner
from dsc.quantize.work import Work


class MixedWork:
    """Another scheme's work, of whose model the nodes that a policy wants so are in half precision besides.

    samples: None where there are none; the other work has read them. Raises UsageError as `Policy.node_decisions`.
    """

    def __init__(self, work: Work, policy: Policy, samples: KeptSamples | None) -> None:
        self.float_model, self._work, self._samples = work.float_model, work, samples
        network = Network(work.float_model)
        self._rules = policy.node_decisions(network)
        names = [name for name in HALVES if any(rule.keep == name for rule in self._rules.values())]
        ranges = None if samples is None else calibrate(self.float_model, samples.kept, ["minmax"])["minmax"]
        self._plans = {name: self._plan(network, name, ranges) for name in names}
        self._half = {name: plan.half() for name, plan in self._plans.items()}

    def _plan(self, network: Network, half: str, ranges: Mapping[str, Range] | None) -> HalfPlan:
        wanted = [name for name, rule in self._rules.items() if rule.keep == half]
        return HalfPlan(network, HALVES[half], ranges, wanted=wanted)

    @property
    def open_layers(self) -> int:
        return self._work.open_layers

    @property
    def required(self) -> str:
        return self._work.required

    def model(self, count: int) -> onnx.ModelProto:
        return self._with_halves(self._work.model(count))

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        found = self._work.result(count, accuracy)
        model, ratio = self._with_halves(found.model), None
        if self._samples is not None:
            ratio = output_decibels(runner(self.float_model), runner(model), self._samples.kept)
        layers = tuple(map(self._report, found.report.layers))
        return Quantized(model, replace(found.report, layers=layers, snr=ratio))

    def _with_halves(self, model: onnx.ModelProto) -> onnx.ModelProto:
        for name, nodes in self._half.items():
            model = in_half(model, nodes, HALVES[name])
        return model

    def _report(self, layer: LayerReport) -> LayerReport:
        rule = self._rules.get(layer.name)
        if rule is None or rule.keep not in HALVES:
            return layer
        plan = self._plans[rule.keep]
        if layer.name in self._half[rule.keep]:
            return replace(layer, half=rule.keep, reason=f"the policy keeps {rule} in {rule.keep}")
        no_form = f"no form in {rule.keep}" if layer.name not in plan.forms else "beside what is in float32"
        return replace(layer, reason=plan.refusals.get(layer.name, no_form))
