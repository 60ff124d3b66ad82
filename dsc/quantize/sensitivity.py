"""What quantizing a layer does to its output, layer by layer, with everything before it in float.

Each layer gets a twin in bytes that reads the same tensor, and the difference of the two is looked at; so one pass over
some samples measures all layers, and nothing of the samples is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.helper

from dsc.check.deviation import decibels
from dsc.quantize.calibration import Feed, Range, Statistic, Values, collect
from dsc.quantize.grid import Grid
from dsc.quantize.insert import grids_of
from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.quantized_layer import quantize_layer, rewired
from dsc.quantize.scheme import StaticScheme


@dataclass(frozen=True)
class Sensitivity:
    """The power of a layer's output and of what quantization adds to it, and the mean of that for each channel.

    power, error: means of squares over all elements. offset: float in the mean less bytes, so what a bias lacks, in
    `units`: the factors by which the output's channels are divided, where `power` and `error` are as if they were not.
    """

    power: float
    error: float
    offset: np.ndarray
    units: np.ndarray = field(default_factory=lambda: np.ones(1))

    def decibels(self, corrected: bool) -> float:
        """The signal-to-noise ratio of the output. corrected: with the channels' means put right."""
        noise = self.error - (float(np.mean((self.offset * self.units) ** 2)) if corrected else 0.0)
        return decibels(self.power, noise)


def measure(
    network: Network,
    layers: Sequence[Layer],
    samples: Iterable[Feed],
    ranges: Mapping[str, Range],
    scheme: StaticScheme,
    *,
    rounded: Mapping[str, np.ndarray] | None = None,
    factors: Mapping[str, np.ndarray] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Sensitivity], dict[str, tuple[int, ...]]]:
    """How each layer that has a form in bytes takes it; the shapes in the first sample of what layers read and give.

    ranges: of what `needed_ranges` names. rounded: bytes of weights that are not the nearest, by layer. factors: by
    what the channels of a layer's output are divided, which powers and errors are without. Raises UsageError for
    samples that the model does not take.
    """
    quantized = [layer for layer in layers if layer.refusal is None]
    model, differences = _twins(network, quantized, grids_of(network, quantized, ranges, scheme), scheme, rounded or {})
    watched = _watched(network, layers, differences)
    collect(model, samples, watched.__getitem__, list(watched), on_progress=on_progress)
    found = {}
    for layer in quantized:
        _, outputs = watched[layer.output]
        (errors,) = watched[differences[layer.name]]
        assert isinstance(outputs, _ChannelMoments)
        assert isinstance(errors, _ChannelMoments)
        units = (factors or {}).get(layer.name, np.ones(1))
        found[layer.name] = Sensitivity(outputs.power(units), errors.power(units), errors.means, units)
    return found, {name: kept[0].shape for name, kept in watched.items() if isinstance(kept[0], Shape)}


def _watched(
    network: Network, layers: Sequence[Layer], differences: Mapping[str, str]
) -> dict[str, tuple[Statistic, ...]]:
    watched: dict[str, tuple[Statistic, ...]] = {}
    for layer in layers:
        for tensor in (layer.data, layer.weight):
            if not network.is_constant(tensor):
                watched.setdefault(tensor, (Shape(),))
    for layer in layers:
        watched[layer.output] = (Shape(),)
        if layer.name in differences:
            watched[layer.output] = (Shape(), _ChannelMoments(layer.output_axis))
            watched[differences[layer.name]] = (_ChannelMoments(layer.output_axis),)
    return watched


def _twins(
    network: Network,
    layers: Sequence[Layer],
    grids: Mapping[str, Grid],
    scheme: StaticScheme,
    rounded: Mapping[str, np.ndarray],
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The float model with each layer's twin beside it, and the tensor of their difference by layer."""
    model, make = onnx.ModelProto(), QdqNodes(network.model)
    model.CopyFrom(network.model)
    by_node, names, differences = {layer.name: layer for layer in layers}, dict[str, str](), dict[str, str]()
    nodes: list[onnx.NodeProto] = []
    for node in network.nodes:
        nodes.append(node)
        layer = by_node.get(node.name)
        if layer is None:
            continue
        if layer.data not in names:
            names[layer.data], made = make.through_bytes(layer.data, grids[layer.data])
            nodes += made
        quantized = quantize_layer(network, layer, grids[layer.data], scheme, rounded=rounded.get(layer.name))
        *before, twin = rewired(quantized, node, names[layer.data], make)
        twin.name, twin.output[0] = make.fresh(f"{node.name}_twin"), make.fresh(f"{layer.output}_twin")
        differences[layer.name] = make.fresh(f"{layer.output}_error")
        nodes += [
            *before,
            twin,
            onnx.helper.make_node("Sub", [layer.output, twin.output[0]], [differences[layer.name]]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(make.initializers)
    return model, differences


class Shape:
    """The shape of a tensor in the first sample."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self._is_known = False

    def add(self, values: Values) -> None:
        if not self._is_known:
            self.shape, self._is_known = values.array.shape, True


class _ChannelMoments:
    """The mean of each channel, and of its squares."""

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._sums: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0
        self._count = 0

    def add(self, values: Values) -> None:
        array = values.without_infinities
        others = tuple(axis for axis in range(array.ndim) if axis != self._axis % array.ndim)
        self._sums = self._sums + array.sum(axis=others, dtype=np.float64)
        self._squares = self._squares + np.square(array, dtype=np.float64).sum(axis=others)
        self._count += array.size // max(array.shape[self._axis], 1)

    @property
    def means(self) -> np.ndarray:
        return np.asarray(self._sums) / max(self._count, 1)

    def power(self, units: np.ndarray) -> float:
        """The mean square, of channels times their units."""
        return float(np.mean(np.asarray(self._squares) * units**2)) / max(self._count, 1)
