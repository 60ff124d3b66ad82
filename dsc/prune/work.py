"""A model and what is asked of it: densities for its layers, and the model that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.check.deviation import decibels
from dsc.errors import UnsupportedModelError, UsageError
from dsc.prune.biases import shift_bias
from dsc.prune.densities import CHOICES, Loss, by_loss, by_magnitude, uniform
from dsc.prune.plan import SHARES, Plan
from dsc.prune.policy import SparsityPolicy
from dsc.prune.problem import Problem
from dsc.prune.pruned import LayerReport, Made
from dsc.prune.request import PatternRequest
from dsc.prune.sums import Sums
from dsc.prune.twins import Twins
from dsc.prune.weights import Weight, find_weights
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
        self._weights = find_weights(self._network, request.pattern)
        self._rules = policy.decisions(self._network, self._weights)
        for weight in self._weights:
            if weight.refusal and weight.name in self._rules and self._rules[weight.name].sparsity:
                raise UsageError(f"the policy wants zeros in {weight.name}, which cannot be: {weight.refusal}")
        if not any(not weight.refusal and self._decided(weight) != 1.0 for weight in self._weights):
            why = "; ".join(sorted({f"{w.layer.op}: {w.refusal or w.dense or 'the policy'}" for w in self._weights}))
            raise UnsupportedModelError(f"there is nothing to prune in the model: {why or 'no products'}")
        self.samples = [{name: np.array(array) for name, array in feed.items()} for feed in samples]
        self._losses: dict[str, Loss] | None = None

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
                Plan(f"{dense} of {self.count} layers dense", partial(self._fixed, dense))
                for dense in range(self.count)
            ]
        shares = [share for share in SHARES if share <= self.most]
        return [Plan(f"a sparsity of {share:.0%}", partial(self._shared, share)) for share in shares]

    def _fixed(self, dense: int) -> Made:
        return self.made(self.fixed_densities(dense))

    def _shared(self, sparsity: float) -> Made:
        return self.made(self.densities(sparsity))

    @property
    def _open(self) -> list[Weight]:
        """The weights whose densities are to be found."""
        return [weight for weight in self._weights if weight.refusal is None and self._decided(weight) is None]

    def _decided(self, weight: Weight) -> float | None:
        """The density that a policy gives a weight, or that it has for what it is."""
        rule = self._rules.get(weight.name)
        if rule is not None:
            return (self._request.fixed if rule.sparsity else None) or 1 - rule.sparsity
        return 1.0 if weight.dense is not None else None

    def densities(self, sparsity: float) -> dict[str, float]:
        """Of all weights that are pruned. sparsity: of all that are not the policy's, those that stay dense included.

        Raises UsageError where the weights that stay dense are too many for it.
        """
        sizes = {weight.name: weight.size for weight in self._open}
        total = sum(sizes.values()) + self._dense
        kept = (1 - sparsity) * total - self._dense
        if kept < 0:
            raise UsageError(
                f"a sparsity of {sparsity:g} leaves {(1 - sparsity) * total:.0f} of {total} weights, and {self._dense} "
                "are of depthwise convolutions, which stay dense unless a policy names them"
            )
        allocation = self._request.how.allocation
        if allocation == "error":
            found = by_loss({name: self.losses[name] for name in sizes}, kept)
        elif allocation == "magnitude":
            matrices = {weight.name: self._matrix(weight) for weight in self._open}
            found = by_magnitude(matrices, kept, self._request.pattern)
        else:
            found = uniform(sizes, kept)
        return found | self._by_policy

    @property
    def _dense(self) -> int:
        """Numbers in weights that stay dense for what they are."""
        return sum(w.size for w in self._weights if w.refusal is None and w.dense and w.name not in self._rules)

    @property
    def most(self) -> float:
        """The largest sparsity that there is."""
        open_ = sum(weight.size for weight in self._open)
        return open_ / (open_ + self._dense)

    def fixed_densities(self, dense: int) -> dict[str, float]:
        """Of a pattern with a density of its own: so many of the most sensitive layers stay dense."""
        fixed = self._request.fixed
        assert fixed is not None  # else `densities` gives them
        named = [weight.name for weight in self._open]
        kept = set(sorted(named, key=lambda name: -self._at(name, fixed))[:dense]) if dense else set()
        return {name: 1.0 if name in kept else fixed for name in named} | self._by_policy

    def _at(self, name: str, density: float) -> float:
        """What a layer loses at a density, more or less."""
        return float(np.interp(1 - density, CHOICES, self.losses[name].curve))

    @property
    def count(self) -> int:
        """How many weights there are whose density is to be found."""
        return len(self._open)

    @property
    def _by_policy(self) -> dict[str, float]:
        found = {w.name: self._decided(w) for w in self._weights if w.refusal is None}
        return {name: density for name, density in found.items() if density is not None}

    @property
    def losses(self) -> Mapping[str, Loss]:
        """What each layer loses at some sparsities when it alone is pruned, found on first use."""
        if self._losses is None:
            self._losses = self._measured()
        return self._losses

    def _measured(self) -> dict[str, Loss]:
        twins = Twins(self.float_model, self.float_model, self.samples) if self.samples else None
        found = {}
        for index, weight in enumerate(self._open):
            self._tell("measure layers", index, self.count)
            array = weight_of(self._network, weight.layer)
            problems = self._without_data(weight)
            if twins is not None:
                sums = Sums(Matrices.of(self._network, weight.layer), array)
                sums.add(twins.pairs(weight.layer.data))
                problems = sums.problems(centered=weight.layer.takes_shift)
            found[weight.name] = Loss.of(problems, weight.size, self._request.pattern)
        return found

    def _matrix(self, weight: Weight) -> np.ndarray:
        """[outputs, depth]."""
        columns = Matrices.of(self._network, weight.layer).columns(weight_of(self._network, weight.layer))
        return np.asarray(columns.transpose(0, 2, 1).reshape(-1, columns.shape[1]), np.float64)

    def _without_data(self, weight: Weight) -> list[Problem]:
        groups = Matrices.of(self._network, weight.layer).groups
        return [Problem.without_data(part) for part in np.split(self._matrix(weight), groups)]

    def made(self, densities: Mapping[str, float]) -> Made:
        """The model with these densities of its weights."""
        model = onnx.ModelProto()
        model.CopyFrom(self.float_model)
        twins = Twins(self.float_model, model, self.samples) if self._request.how.uses_data else None
        reports, tensors = {}, {tensor.name: tensor for tensor in model.graph.initializer}
        layers = [(layer, weight) for weight in self._weights if weight.refusal is None for layer in weight.layers]
        order = {node.name: index for index, node in enumerate(self._network.nodes)}
        for index, (layer, weight) in enumerate(sorted(layers, key=lambda each: order[each[0].name])):
            self._tell("prune", index, len(layers))
            sums = None if twins is None else self._sums(twins, layer)
            if weight.name not in reports:
                joint = self._joint(weight) if sums is not None and len(weight.layers) > 1 else sums
                array, reports[weight.name] = self._one(weight, densities[weight.name], joint)
                name = tensors[layer.weight].name
                tensors[layer.weight].CopyFrom(onnx.numpy_helper.from_array(array, name))
            if twins is not None and sums is not None and self._request.how.updates:
                twins.change(layer.output)
                if layer.takes_shift:
                    array = onnx.numpy_helper.to_array(tensors[layer.weight])
                    matrices = Matrices.of(self._network, layer)
                    shift = sums.shift([part.T for part in matrices.columns(array)])
                    twins.change(shift_bias(model, layer, shift))
        drop_unused(model.graph)  # biases that others took the place of
        for weight in self._weights:
            if weight.refusal is not None:
                reports[weight.name] = LayerReport(
                    weight.name, weight.layer.op, weight.shape, 0, 0, None, weight.refusal
                )
        return Made(model, tuple(reports[weight.name] for weight in self._weights))

    def _joint(self, weight: Weight) -> Sums:
        """Of all products that read a weight, in the float model: what the later ones read is not known yet."""
        twins = Twins(self.float_model, self.float_model, self.samples)
        sums = Sums(Matrices.of(self._network, weight.layer), weight_of(self._network, weight.layer))
        for layer in weight.layers:
            sums.add(twins.pairs(layer.data))
        return sums

    def _sums(self, twins: Twins, layer: Layer) -> Sums:
        sums = Sums(Matrices.of(self._network, layer), weight_of(self._network, layer))
        sums.add(twins.pairs(layer.data))
        return sums

    def _one(self, weight: Weight, density: float, sums: Sums | None) -> tuple[np.ndarray, LayerReport]:
        """The new array of a weight, and what is to be said of it."""
        matrices, array = Matrices.of(self._network, weight.layer), weight_of(self._network, weight.layer)
        notes, reason = [weight.padded] if weight.padded and density < 1 else [], self._reason(weight, density)
        centered = self._request.how.updates and weight.layer.takes_shift and len(weight.layers) == 1
        problems = self._without_data(weight) if sums is None else sums.problems(centered=centered)
        if sums is not None and sums.count < matrices.depth:
            notes.append(f"{sums.count} rows of data for a depth of {matrices.depth}")
        if reason or density >= 1:
            report = LayerReport(weight.name, weight.layer.op, weight.shape, weight.size, _zeros(array), None, reason)
            return array, report
        parts = [self._request.how.prune(problem, self._request.pattern, density) for problem in problems]
        found = np.ascontiguousarray(matrices.weight(np.stack([part.T for part in parts]))).astype(np.float32)
        snr = decibels(
            sum(problem.power for problem in problems),
            sum(problem.error(part) for problem, part in zip(problems, parts, strict=True)),
        )
        return found, LayerReport(
            weight.name, weight.layer.op, weight.shape, weight.size, _zeros(found), snr, "", tuple(notes)
        )

    def _reason(self, weight: Weight, density: float) -> str:
        """Why a weight stays dense, in words; nothing where it does not."""
        rule = self._rules.get(weight.name)
        if density < 1:
            return ""
        if rule is not None:
            return f"the policy keeps {rule} dense"
        return weight.dense or "too sensitive for what is asked"


def _zeros(array: np.ndarray) -> int:
    return int(array.size - np.count_nonzero(array))
