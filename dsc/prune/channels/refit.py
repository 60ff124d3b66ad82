"""What is left of a model anew: weights by least squares, biases, and the statistics of batch norms.

The model still has all channels, with zeros where those that go are multiplied; so both models are run side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.check.deviation import decibels
from dsc.exchange.names import unique
from dsc.prune.biases import names_of, shift_bias
from dsc.prune.channels.dims import Use
from dsc.prune.channels.groups import Gone
from dsc.prune.norms import has_constants, reestimate
from dsc.prune.problem import Problem
from dsc.prune.sums import Sums
from dsc.prune.twins import Twins, are_same
from dsc.quantize.calibration import Feed
from dsc.quantize.layers import Layer, find_layers, weight_of
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.work import Progress


def with_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose convolutions and Gemms all have a bias, of zeros where they had none, but those that a batch norm
    reads, which has a bias of its own.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    network, taken = Network(model), names_of(model)
    nodes = {node.name: node for node in made.graph.node}
    for layer in find_layers(network):
        if layer.refusal is None and layer.takes_shift and layer.bias is None and not _is_normed(network, layer):
            name = unique(f"{layer.name}_bias", taken)
            zeros = np.zeros(weight_of(network, layer).shape[layer.channels], np.float32)
            made.graph.initializer.append(onnx.numpy_helper.from_array(zeros, name))
            nodes[layer.name].input[:] = [*nodes[layer.name].input[:2], name]
    return made


def _is_normed(network: Network, layer: Layer) -> bool:
    readers = network.consumers[layer.output]
    return bool(readers) and layer.output not in network.outputs and all(has_constants(network, n) for n in readers)


def refit(model: onnx.ModelProto, gone: Gone, samples: Sequence[Feed], tell: Progress) -> Mapping[str, float]:
    """Change a model with zeros where channels go; the signal-to-noise ratio of each product of which some went.

    Its nodes are those of the float model, which has biases (`with_biases`): none are made, only other numbers.
    """
    return _Refit(model, gone, samples).done(tell)


class _Refit:
    """The float model and the one with zeros, side by side; nodes are changed in their order."""

    def __init__(self, model: onnx.ModelProto, gone: Gone, samples: Sequence[Feed]) -> None:
        self._model, self._gone, self._before = model, gone, gone.coupling.network
        self._layers = {layer.name: layer for layer in find_layers(self._before) if layer.refusal is None}
        after = Network(model)
        self._now = {layer.name: layer for layer in find_layers(after)}
        self._alone = {name for name, readers in after.consumers.items() if len(readers) == 1}
        self._nodes = {node.name: node for node in model.graph.node}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._twins = Twins(self._before.model, model, samples)
        self._cut = {c.weight.node for c in gone.coupling.contractions if gone.cuts(c)}
        for name in self._cut:
            self._twins.change(self._nodes[name].output[0])

    def done(self, tell: Progress) -> Mapping[str, float]:
        """All of it."""
        found = {}
        for index, node in enumerate(self._before.nodes):
            tell("refit", index, len(self._before.nodes))
            if node.name in self._layers:
                snr = self._layer(self._layers[node.name])
                if snr is not None:
                    found[node.name] = snr
            elif has_constants(self._before, node):
                reestimate(self._model, node.name, self._twins)
        return found

    def _layer(self, layer: Layer) -> float | None:
        """Of a product: its weights, where some go, and its bias, where anything it reads is another."""
        pairs = self._twins.pairs(layer.data)
        if layer.name not in self._cut and are_same(pairs):
            return None
        matrices, now = Matrices.of(self._before, layer), self._now[layer.name]
        sums = Sums(matrices, weight_of(self._before, layer))
        sums.add(pairs)
        snr = None
        if layer.name in self._cut and now.weight in self._alone:
            snr = self._weights(layer, matrices, sums)
        if layer.takes_shift and not _is_normed(self._before, layer):
            columns = matrices.columns(onnx.numpy_helper.to_array(self._tensors[now.weight]))
            self._twins.change(shift_bias(self._model, now, sums.shift([part.T for part in columns])))
        return snr

    def _weights(self, layer: Layer, matrices: Matrices, sums: Sums) -> float:
        """By least squares; the signal-to-noise ratio of what they give."""
        problems = sums.problems(centered=layer.takes_shift)
        dims = self._gone.coupling.dims_of(Use(layer.name, 1))
        kept = self._gone.kept(dims[1 if layer.op == "Conv" else 1 - layer.channels])
        parts = [_least_squares(problem, np.repeat(kept, matrices.depth // len(kept))) for problem in problems]
        array = matrices.weight(np.stack([part.T for part in parts]))
        tensor = self._tensors[self._now[layer.name].weight]
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array, np.float32), tensor.name))
        noise = sum(problem.error(part) for problem, part in zip(problems, parts, strict=True))
        return decibels(sum(problem.power for problem in problems), noise)


def _least_squares(problem: Problem, kept: np.ndarray) -> np.ndarray:
    """The weight of the least error with these columns; the others are 0."""
    found = np.zeros_like(problem.target)
    wanted = (problem.target @ problem.hessian)[:, kept]
    found[:, kept] = np.linalg.solve(problem.hessian[np.ix_(kept, kept)], wanted.T).T
    return found
