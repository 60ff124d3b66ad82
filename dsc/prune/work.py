"""A model and what is asked of it: densities for its layers, and the model that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.check.deviation import decibels
from dsc.prune.biases import shift_bias
from dsc.prune.decisions import Decisions
from dsc.prune.methods import METHODS
from dsc.prune.methods.magnitude import magnitude
from dsc.prune.norms import has_constants, reestimate
from dsc.prune.plan import SHARES, Plan
from dsc.prune.policy import SparsityPolicy
from dsc.prune.pruned import LayerReport, Made
from dsc.prune.request import PatternRequest
from dsc.prune.speed.draft import Draft
from dsc.prune.sums import Sums
from dsc.prune.twins import Twins
from dsc.prune.weights import Weight
from dsc.quantize.calibration import Feed
from dsc.quantize.layers import Layer, weight_of
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.prepare import drop_unused
from dsc.quantize.work import Progress


class PatternWork:
    """samples: read once and kept, for methods that need them.

    Raises UsageError for names in the policy that are no layer's and samples that the model does not take,
    UnsupportedModelError where there is nothing to prune.
    """

    def __init__(
        self,
        request: PatternRequest,
        model: onnx.ModelProto,
        policy: SparsityPolicy,
        samples: Iterable[Feed],
        tell: Progress,
    ) -> None:
        self.float_model, self._network, self._request, self._tell = model, Network(model), request, tell
        self.samples = [{name: np.array(array) for name, array in feed.items()} for feed in samples]
        self._decisions = Decisions(self._network, request, policy, self.samples, tell)

    def asked(self) -> Plan:
        """What is asked for, where that says how sparse it is."""
        sparsity = self._request.sparsity
        if sparsity is None:
            return Plan(f"pattern {self._request.pattern}", partial(self._fixed, 0))
        return Plan(f"a sparsity of {sparsity:.0%}", partial(self._shared, sparsity))

    def plans(self) -> list[Plan]:
        """What may be tried where it does not: the sparsest first."""
        if self._request.fixed is not None:
            return [
                Plan(f"{dense} of {self._decisions.count} layers dense", partial(self._fixed, dense))
                for dense in range(self._decisions.count)
            ]
        shares = [share for share in SHARES if share <= self._decisions.most]
        return [Plan(f"a sparsity of {share:.0%}", partial(self._shared, share)) for share in shares]

    def _fixed(self, dense: int) -> Made:
        return self.made(self._decisions.fixed_densities(dense))

    def _shared(self, sparsity: float) -> Made:
        return self.made(self._decisions.densities(sparsity))

    def draft(self, left: float, costs: Mapping[str, float]) -> Draft:
        """The model of which a share of what its products cost is left, or as little as can be, and the least is lost.

        costs: of each product, by name.
        """
        densities = self._decisions.by_cost(left, costs)
        return Draft(self._zeroed(densities), partial(self.made, densities))

    def _zeroed(self, densities: Mapping[str, float]) -> onnx.ModelProto:
        """The model with zeros in the least weights: about as many of the pattern as any method makes."""
        model = onnx.ModelProto()
        model.CopyFrom(self.float_model)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for weight in self._decisions.weights:
            if weight.refusal is None and densities[weight.name] < 1:
                problems = self._decisions.without_data(weight)
                parts = [magnitude(each, self._request.pattern, densities[weight.name]) for each in problems]
                array = Matrices.of(self._network, weight.layer).weight(np.stack([part.T for part in parts]))
                made = onnx.numpy_helper.from_array(np.ascontiguousarray(array, np.float32), weight.layer.weight)
                tensors[weight.layer.weight].CopyFrom(made)
        return model

    def made(self, densities: Mapping[str, float]) -> Made:
        """The model with these densities of its weights."""
        model = onnx.ModelProto()
        model.CopyFrom(self.float_model)
        twins = Twins(self.float_model, model, self.samples) if self._request.how.uses_data else None
        reports, tensors = {}, {tensor.name: tensor for tensor in model.graph.initializer}
        able = [weight for weight in self._decisions.weights if weight.refusal is None]
        layers = {layer.name: (layer, weight) for weight in able for layer in weight.layers}
        for index, node in enumerate(self._network.nodes):
            self._tell("prune", index, len(self._network.nodes))
            if twins is not None and self._request.how.updates and has_constants(self._network, node):
                reestimate(model, node.name, twins)
            if node.name not in layers:
                continue
            layer, weight = layers[node.name]
            sums = None if twins is None or weight.is_table else self._sums(twins, layer)
            if weight.name not in reports:
                joint = self._joint(weight) if sums is not None and len(weight.layers) > 1 else sums
                array, reports[weight.name] = self._one(weight, densities[weight.name], joint)
                name = tensors[layer.weight].name
                tensors[layer.weight].CopyFrom(onnx.numpy_helper.from_array(array, name))
            if twins is not None and self._request.how.updates:
                twins.change(layer.output)
                if sums is not None and layer.takes_shift:
                    array = onnx.numpy_helper.to_array(tensors[layer.weight])
                    matrices = Matrices.of(self._network, layer)
                    shift = sums.shift([part.T for part in matrices.columns(array)])
                    twins.change(shift_bias(model, layer, shift))
        drop_unused(model.graph)  # biases that others took the place of
        for weight in self._decisions.weights:
            if weight.refusal is not None:
                reports[weight.name] = LayerReport(
                    weight.name, weight.layer.op, weight.shape, 0, 0, None, weight.refusal
                )
        return Made(model, tuple(reports[weight.name] for weight in self._decisions.weights))

    def _joint(self, weight: Weight) -> Sums:
        """Of all products that read a weight, in the float model: what the later ones read is not known yet."""
        twins = Twins(self.float_model, self.float_model, self.samples)
        sums = self._decisions.sums(weight.layer)
        for layer in weight.layers:
            sums.add(twins.pairs(layer.data))
        return sums

    def _sums(self, twins: Twins, layer: Layer) -> Sums:
        sums = self._decisions.sums(layer)
        sums.add(twins.pairs(layer.data))
        return sums

    def _one(self, weight: Weight, density: float, sums: Sums | None) -> tuple[np.ndarray, LayerReport]:
        """The new array of a weight, and what is to be said of it."""
        matrices, array = Matrices.of(self._network, weight.layer), weight_of(self._network, weight.layer)
        notes, reason = [weight.padded] if weight.padded and density < 1 else [], self._reason(weight, density)
        centered = self._request.how.updates and weight.layer.takes_shift and len(weight.layers) == 1
        if sums is not None and sums.count < matrices.depth:
            notes.append(f"{sums.count} rows of data for a depth of {matrices.depth}")
        if density < 1 and self._decisions.is_pruned(weight, density):
            reason = "it has as many zeros already"
        if reason or density >= 1:
            report = LayerReport(weight.name, weight.layer.op, weight.shape, weight.size, _zeros(array), None, reason)
            return array, report
        how = METHODS["magnitude"] if weight.is_table else self._request.how
        if sums is None:
            problems = self._decisions.without_data(weight)
        else:
            problems = sums.problems(centered=centered, as_in_float=not how.updates)
        parts = [how.prune(problem, self._request.pattern, density) for problem in problems]
        step = len(parts) // matrices.groups  # parts of the depth
        whole = [np.concatenate(parts[first : first + step], axis=1) for first in range(0, len(parts), step)]
        found = np.ascontiguousarray(matrices.weight(np.stack([each.T for each in whole]))).astype(np.float32)
        snr = decibels(
            sum(problem.power for problem in problems),
            sum(problem.error(part) for problem, part in zip(problems, parts, strict=True)),
        )
        return found, LayerReport(
            weight.name,
            weight.layer.op,
            weight.shape,
            weight.size,
            _zeros(found),
            snr,
            "",
            tuple(notes),
            sums.count if sums is not None and self._request.how.updates else None,
            matrices.depth,
        )

    def _reason(self, weight: Weight, density: float) -> str:
        """Why a weight stays dense, in words; nothing where it does not."""
        rule = self._decisions.rules.get(weight.name)
        if density < 1:
            return ""
        if rule is not None:
            return f"the policy keeps {rule} dense"
        return weight.dense or "too sensitive for what is asked"


def _zeros(array: np.ndarray) -> int:
    return int(array.size - np.count_nonzero(array))
