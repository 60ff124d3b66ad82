"""Constants that take a factor for each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from dsc.quantize.layers import Layer, weight_of
from dsc.quantize.network import Network, attribute


@dataclass(frozen=True)
class Place:
    """A constant that a node reads, and how its elements belong to channels.

    view: the shape in which `along`, the shape of the factors, broadcasts to it; None where it does as it is.
    divides: whether the constant is divided by the factors, else multiplied.
    """

    node: str
    index: int
    along: tuple[int, ...]
    divides: bool
    view: tuple[int, ...] | None = None

    def scaled(self, array: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """The constant with factors (one a channel) in it."""
        spread = factors.reshape(self.along)
        made = self._seen(array) / spread if self.divides else self._seen(array) * spread
        return np.asarray(made if self.view is None else made.reshape(array.shape))

    def largest(self, array: np.ndarray) -> np.ndarray:
        """The largest absolute value of each channel."""
        return np.asarray(np.max(np.abs(self._seen(array)), axis=self._others, initial=0.0)).reshape(-1)

    def squares(self, array: np.ndarray) -> np.ndarray:
        """The sum of squares of each channel."""
        return np.asarray(np.sum(np.square(self._seen(array)), axis=self._others)).reshape(-1)

    def _seen(self, array: np.ndarray) -> np.ndarray:
        return array if self.view is None else array.reshape(self.view)

    @property
    def _others(self) -> tuple[int, ...]:
        """The axes that are no channels."""
        return tuple(axis for axis, size in enumerate(self.along) if size == 1)


def input_place(network: Network, layer: Layer, node: onnx.NodeProto) -> tuple[int, Place]:
    """How many channels a layer reads, and its weight as what multiplies them."""
    shape = weight_of(network, layer).shape
    if layer.op == "Conv":
        groups = attribute(node, "group", 1)
        view = (groups, shape[0] // groups, *shape[1:])
        along = (groups, 1, shape[1], *[1] * (len(shape) - 2))
        return groups * shape[1], Place(layer.name, 1, along, False, view)
    channels = shape[1 - layer.channels]
    return channels, Place(layer.name, 1, (channels, 1) if layer.channels else (1, channels), False)


def output_places(network: Network, layer: Layer) -> tuple[Place, ...] | None:
    """A layer's weight and bias as what makes its output's channels; None where its bias is no vector of them."""
    if not (layer.takes_shift or layer.op == "MatMul"):
        return None
    shape = weight_of(network, layer).shape
    along = [1] * len(shape)
    along[layer.channels] = shape[layer.channels]
    places = [Place(layer.name, 1, tuple(along), True)]
    if layer.bias is not None and layer.bias.node == layer.name:
        places.append(Place(layer.name, 2, (shape[layer.channels],), True))
    return tuple(places)


def channel_shape(network: Network, layer: Layer, channels: int) -> tuple[int, ...]:
    """The shape of a vector that has one number for each channel of what a layer reads."""
    spatial = len(weight_of(network, layer).shape) - 2 if layer.op == "Conv" else 0
    return channels, *[1] * spatial


def broadcasts(array: np.ndarray, along: tuple[int, ...]) -> bool:
    """Whether a constant has one number for each channel of a vector of that shape, or can have."""
    try:
        np.broadcast_shapes(array.shape, along)
    except ValueError:
        return False
    return array.ndim < len(along) or array.shape[array.ndim - len(along)] in (1, math.prod(along))
