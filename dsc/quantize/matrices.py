"""A layer as products of matrices, one a group of a convolution: rows of what it reads by columns of its weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view

from dsc.quantize.layers import Layer, weight_of
from dsc.quantize.network import Network, attribute


@dataclass(frozen=True)
class Matrices:
    """``rows(data) @ columns(weight)`` is the layer's output without its bias, place by place.

    layer, node: a product with a constant weight. groups: of a convolution, else 1.
    """

    layer: Layer
    node: onnx.NodeProto
    shape: tuple[int, ...]
    """Of the weight."""

    @staticmethod
    def of(network: Network, layer: Layer) -> Matrices:
        """Those of a layer that has a form in bytes."""
        return Matrices(layer, network.producers[layer.output], tuple(weight_of(network, layer).shape))

    @property
    def groups(self) -> int:
        return attribute(self.node, "group", 1) if self.layer.op == "Conv" else 1

    @property
    def depth(self) -> int:
        """Of each product."""
        return int(np.prod(self.shape[1:])) if self.layer.op == "Conv" else self.shape[1 - self.layer.channels]

    @property
    def width(self) -> int:
        """How many output channels a group has."""
        return self.shape[self.layer.channels] // self.groups

    def columns(self, weight: np.ndarray) -> np.ndarray:
        """[groups, depth, width] of an array of the weight's shape."""
        if self.layer.op == "Conv":
            return weight.reshape(self.groups, self.width, self.depth).transpose(0, 2, 1)
        return np.expand_dims(weight if self.layer.channels else weight.T, 0)

    def weight(self, columns: np.ndarray) -> np.ndarray:
        """The array of the weight's shape that has these columns."""
        if self.layer.op == "Conv":
            return np.asarray(columns.transpose(0, 2, 1).reshape(self.shape))
        return np.asarray(columns[0] if self.layer.channels else columns[0].T)

    def by_group(self, channels: np.ndarray) -> np.ndarray:
        """[groups, 1, width] of a vector of the output's channels."""
        return channels.reshape(self.groups, 1, self.width)

    def rows(self, data: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
        """[groups, rows, depth] of what the layer reads, at some places of its output: `most` of them, or all."""
        if self.layer.op != "Conv":
            flat = data.reshape(-1, data.shape[-1])
            return np.asarray(flat[_chosen(len(flat), most, random)][None])
        windows = self._windows(data)
        spatial = (windows.ndim - 2) // 2
        places = (windows.shape[0], *windows.shape[2 : 2 + spatial])
        chosen = np.unravel_index(_chosen(int(np.prod(places)), most, random), places)
        channels = np.moveaxis(windows, 1, 1 + spatial)  # behind the places
        found = channels[chosen]
        return np.asarray(found.reshape(len(found), self.groups, self.depth).transpose(1, 0, 2))

    def _windows(self, image: np.ndarray) -> np.ndarray:
        """[n, channels, places ..., taps ...]: a view of the padded image."""
        spatial = image.ndim - 2
        taps = self.shape[2:]
        strides, dilations = (self._list(name) or [1] * spatial for name in ("strides", "dilations"))
        reach = [(tap - 1) * dilation + 1 for tap, dilation in zip(taps, dilations, strict=True)]
        padded = np.pad(image, [(0, 0), (0, 0), *self._pads(image.shape[2:], strides, reach)])
        axes = tuple(range(2, 2 + spatial))
        windows = sliding_window_view(padded, reach, axis=axes)
        steps = [slice(None, None, stride) for stride in strides]
        return windows[:, :, *steps, *(slice(None, None, dilation) for dilation in dilations)]

    def _pads(self, sizes: tuple[int, ...], strides: list[int], reach: list[int]) -> list[tuple[int, int]]:
        """Zeros before and after each axis."""
        mode = next((a.s for a in self.node.attribute if a.name == "auto_pad"), b"NOTSET")
        if mode in (b"SAME_UPPER", b"SAME_LOWER"):
            totals = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(sizes, strides, reach, strict=True)]
            ends = [(total // 2, total - total // 2) for total in totals]
            return ends if mode == b"SAME_UPPER" else [(after, before) for before, after in ends]
        given = self._list("pads") or [0] * 2 * len(sizes)
        if mode == b"VALID":
            given = [0] * len(given)
        return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))

    def _list(self, name: str) -> list[int]:
        return next((list(a.ints) for a in self.node.attribute if a.name == name), [])


def _chosen(count: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Indices of `most` of so many, or of all."""
    return np.arange(count) if count <= most else np.sort(random.choice(count, most, replace=False))
