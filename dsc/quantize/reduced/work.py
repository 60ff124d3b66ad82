"""Half precision under the search for an accuracy: islands of float32 grow by the most sensitive nodes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import onnx

from dsc.elements import ElementType
from dsc.errors import UnsupportedModelError, UsageError
from dsc.quantize.calibration import Feed, Range, Samples, calibrate
from dsc.quantize.halves import HALVES
from dsc.quantize.kept_samples import KeptSamples
from dsc.quantize.layers import count_macs, find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.quantized import Accuracy, LayerReport, Quantized, Report
from dsc.quantize.reduced.convert import in_half, rounded
from dsc.quantize.reduced.plan import HalfPlan
from dsc.quantize.reduced.sensitivity import measure
from dsc.quantize.session import output_decibels, runner
from dsc.quantize.weight_error import weight_decibels
from dsc.quantize.work import Progress


class ReducedWork:
    """A model on the way to half precision. Its layers are the nodes that compute floats, products and others.

    scheme: of `HALVES`. calibration: None where operators and constants alone say what stays within the range. Raises
    UsageError for names in the policy that are none, or layers that it wants in another type, and samples that the
    model does not take; UnsupportedModelError where there is nothing that can be in half precision.
    """

    def __init__(
        self, model: onnx.ModelProto, policy: Policy, scheme: str, calibration: Iterable[Feed] | None, tell: Progress
    ) -> None:
        self.float_model, self._network, self._scheme = model, Network(model), scheme
        self._rules = policy.node_decisions(self._network)
        for rule in self._rules.values():
            if rule.keep not in ("float", scheme):
                raise UsageError(
                    f"the policy keeps {rule} in {rule.keep}, and the scheme is {scheme}: other nodes are float there. "
                    f"Take the scheme int8 for bytes, and keep = {scheme!r} for the rest"
                )
        samples = None if calibration is None else KeptSamples(calibration)
        required = [name for name, rule in self._rules.items() if rule.keep == scheme]
        ranges = None if samples is None else _ranges(model, samples, calibration, tell)
        self._plan = HalfPlan(self._network, self._element, ranges, required=required)
        self._float = [name for name, rule in self._rules.items() if rule.keep == "float"]
        if not self._plan.half(self._float):
            raise UnsupportedModelError(f"there is nothing in the model that can be in {self._element.dtype.name}")
        self._samples = None if samples is None else samples.kept
        self._sizes, self._decibels = self._by_weights() if samples is None else self._by_samples(samples.kept, tell)

    @property
    def open_layers(self) -> int:
        return len(self._open)

    @property
    def required(self) -> str:
        return ", ".join(name for name in self._plan.required if name in self._plan.half())

    def model(self, count: int) -> onnx.ModelProto:
        return in_half(self.float_model, self._half(count), self._element)

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        model, half = self.model(count), self._half(count)
        ratio = None
        if self._samples is not None:
            ratio = output_decibels(runner(self.float_model), runner(model), self._samples)
        kept = set(self._open[:count])
        layers = tuple(self._report(node, half, kept) for node in self._network.nodes if self._is_layer(node))
        unit = "weights" if self._samples is None else "multiply-adds"
        return Quantized(model, Report(layers, ratio, accuracy, unit))

    @property
    def _element(self) -> ElementType:
        return HALVES[self._scheme]

    @cached_property
    def _open(self) -> list[str]:
        """The layers for which accuracy decides, the most sensitive first."""
        half = self._plan.half(self._float)
        free = [name for name in self._decibels if name in half and name not in self._rules]
        return sorted(free, key=lambda name: self._decibels[name])

    def _half(self, count: int) -> frozenset[str]:
        return self._plan.half([*self._float, *self._open[:count]])

    def _by_samples(self, kept: list[dict[str, np.ndarray]], tell: Progress) -> tuple[dict[str, int], dict[str, float]]:
        """Multiply-adds and signal-to-noise ratios of layers, by name."""
        layers, half = find_layers(self._network), self._plan.half()
        forms = {
            n.name: self._plan.forms[n.name] for n in self._network.nodes if n.name in half and self._plan.rounds(n)
        }
        ratios, shapes = measure(
            self._network, forms, layers, kept, self._element,
            on_progress=lambda done: tell("measure layers", done, len(kept)),
        )  # fmt: skip
        return count_macs(self._network, layers, shapes), ratios

    def _by_weights(self) -> tuple[dict[str, int], dict[str, float]]:
        """Numbers of weights, and their signal-to-noise ratios."""
        sizes, ratios, half = dict[str, int](), dict[str, float](), self._plan.half()
        for node in self._network.nodes:
            form = self._plan.forms.get(node.name)
            if form is None or not self._plan.rounds(node):
                continue
            weights = [array for i in form.operands if (array := self._network.constant(node.input[i])) is not None]
            sizes[node.name] = sum(array.size for array in weights)
            if weights and node.name in half:
                ratios[node.name] = min(weight_decibels(a, rounded(a, self._element)) for a in weights)
        return sizes, ratios

    def _is_layer(self, node: onnx.NodeProto) -> bool:
        """Products are, in whatever type; of the others those that could be in half precision and round."""
        return self._plan.rounds(node) and (node.name in self._plan.forms or node.name in self._sizes)

    def _report(self, node: onnx.NodeProto, half: frozenset[str], kept: set[str]) -> LayerReport:
        name, is_half = node.name, node.name in half
        size, ratio, why = self._sizes.get(name, 0), self._decibels.get(name), self._reason(name, half, kept)
        return LayerReport(name, node.op_type, size, ratio, is_half, why, half=self._scheme if is_half else None)

    def _reason(self, name: str, half: frozenset[str], kept: set[str]) -> str:
        rule = self._rules.get(name)
        if name in half:
            return "" if rule is None else f"the policy keeps {rule} in {self._scheme}"
        if name not in self._plan.forms:
            return f"no form in {self._element.dtype.name}"
        if name in self._plan.refusals:
            return self._plan.refusals[name]
        if rule is not None:
            return f"the policy keeps {rule} in float"
        return "too sensitive for the accuracy asked for" if name in kept else "beside what is in float32"


def _ranges(
    model: onnx.ModelProto, samples: KeptSamples, calibration: Iterable[Feed] | None, tell: Progress
) -> dict[str, Range]:
    """What tensors reach over all samples."""
    count = (calibration.count if isinstance(calibration, Samples) else None) or 0
    found = calibrate(model, samples, ["minmax"], on_progress=lambda done: tell("calibrate", done, count))
    return found["minmax"]
