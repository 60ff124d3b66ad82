"""SmoothQuant: outliers of activations that weights take over, channel by channel.

What a product reads is divided by ``s = max|x|^a / max|w|^(1 - a)`` in each channel and its weight multiplied by it:
the wider the channel, the larger s. The factors of a tensor are those of all products that read it together. They go
into what makes the tensor: a norm's scale and bias, constants behind an activation, the product before it.
(Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, 2022.)

Which a is best, or that it is better left, is tried out: products of bytes against those of floats on rows of samples.
A depthwise convolution's weights have a scale for each channel as it is, so there a = 1 costs them nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsc.check.deviation import decibels
from dsc.quantize.calibration import Feed, Range, Values, collect
from dsc.quantize.grid import activation_grid, weight_grid
from dsc.quantize.layers import Layer
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.rescale.joints import Joint, find_joints
from dsc.quantize.rescale.rescaled import Rescaled
from dsc.quantize.scheme import StaticScheme

STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Values of a that are tried."""
_ROWS = 512
"""Of a layer's input that are looked at, over all samples."""
_WORTH = 1.05
"""So many times less error makes factors worth having."""


@dataclass(frozen=True)
class Smoothed:
    """A joint with factors in it: their strength, and by how much the signal-to-noise ratio of its readers rose."""

    joint: Joint
    strength: float
    decibels: float


def smooth(
    network: Network,
    layers: Sequence[Layer],
    samples: Sequence[Feed],
    scheme: StaticScheme,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Rescaled, list[Smoothed]]:
    """A network's tensors smoothed where that makes less error, and where that was.

    scheme.smoothing: "fold" for factors that the network has a place for, "insert" for all, by a product where there is
    none. Raises UsageError as `collect` does.
    """
    joints = [joint for joint in find_joints(network, layers) if _is_wanted(joint, scheme)]
    if not joints or not samples:
        return Rescaled(network), []  # who calibrates says that there are none
    kept = {joint.tensor: _Seen(network, joint, -(-_ROWS // len(samples))) for joint in joints}
    collect(network.model, samples, lambda name: [kept[name]], list(kept), on_progress=on_progress)
    rescaled, found = Rescaled(network), []
    for joint in (joint for joint in joints if kept[joint.tensor].is_known):
        factors, smoothed = _best(network, kept[joint.tensor], scheme)
        if smoothed is not None:
            rescaled.scale(joint, factors)
            found.append(smoothed)
    return rescaled, found


def _is_wanted(joint: Joint, scheme: StaticScheme) -> bool:
    """Whether factors may go there. One scale for a whole weight would suffer from factors in the product before."""
    if joint.layer is not None and not scheme.per_channel:
        return False
    return bool(joint.makers) or scheme.smoothing == "insert"


class _Seen:
    """What is known of a joint's tensor: the extremes of its channels, and rows for each product that reads it."""

    def __init__(self, network: Network, joint: Joint, rows: int) -> None:
        self.joint, self._rows = joint, rows
        self.readers = [Matrices.of(network, reader) for reader in joint.readers]
        self.low, self.high = np.zeros(joint.channels), np.zeros(joint.channels)
        self._random = np.random.default_rng(0)
        self._parts: list[list[np.ndarray]] = [[] for _ in self.readers]

    def add(self, values: Values) -> None:
        array = values.without_infinities
        axis = array.ndim - len(self.joint.along)
        others = tuple(other for other in range(array.ndim) if other != axis)
        self.low = np.minimum(self.low, array.min(axis=others))
        self.high = np.maximum(self.high, array.max(axis=others))
        for reader, parts in zip(self.readers, self._parts, strict=True):
            parts.append(np.array(reader.rows(array, self._rows, self._random)))

    @property
    def is_known(self) -> bool:
        """Whether the tensor ever had an element."""
        return bool(self._parts[0])

    @property
    def largest(self) -> np.ndarray:
        """Of each channel, the largest absolute value."""
        return np.maximum(self.high, -self.low)

    def rows(self, reader: int) -> np.ndarray:
        """[groups, rows, depth]."""
        return np.concatenate(self._parts[reader], axis=1)


def _best(network: Network, seen: _Seen, scheme: StaticScheme) -> tuple[np.ndarray, Smoothed | None]:
    """The factors that make the least error; None with those that change nothing."""
    joint = seen.joint
    weights = [network.constant(reader.weight) for reader in joint.readers]
    wide = [weight.astype(np.float64) for weight in weights if weight is not None]
    largest = np.max([p.largest(w) for p, w in zip(joint.weights, wide, strict=True)], axis=0)
    plain = least = _error(seen, wide, np.ones(joint.channels), scheme)
    best, strength = np.ones(joint.channels), 0.0
    for tried in STRENGTHS:
        factors = _factors(seen.largest, largest, tried)
        error = _error(seen, wide, factors, scheme)
        if error < least:
            best, strength, least = factors, tried, error
    if plain <= least * _WORTH:
        return best, None
    return best, Smoothed(joint, strength, decibels(plain, least))


def _factors(data: np.ndarray, weights: np.ndarray, strength: float) -> np.ndarray:
    """Of geometric mean 1; 1 for a channel that is 0 throughout, in data or weights."""
    has_both = (data > 0) & (weights > 0)
    logs = np.where(has_both, strength * _log(data) - (1 - strength) * _log(weights), 0.0)
    return np.exp(np.where(has_both, logs - logs[has_both].mean() if has_both.any() else 0.0, 0.0))


def _log(array: np.ndarray) -> np.ndarray:
    return np.log(np.where(array > 0, array, 1.0))


def _error(seen: _Seen, weights: Sequence[np.ndarray], factors: np.ndarray, scheme: StaticScheme) -> float:
    """The share of the outputs' power that bytes get wrong, over the products that read the tensor."""
    found = Range(float((seen.low / factors).min()), float((seen.high / factors).max()))
    grid, total = activation_grid(found, scheme.activations, scheme.symmetric), 0.0
    for index, (place, weight) in enumerate(zip(seen.joint.weights, weights, strict=True)):
        reader = seen.readers[index]
        scaled = place.scaled(weight, factors).astype(np.float32)
        bytes_ = weight_grid(scaled, reader.layer.channels if scheme.per_channel else None, scheme.weight_bits)
        spread = reader.columns(place.scaled(np.ones(weight.shape), factors)).astype(np.float32)[..., :1]
        rows = seen.rows(index)
        data = grid.dequantized(grid.quantized(rows / spread.transpose(0, 2, 1)))
        expected = rows @ reader.columns(weight).astype(np.float32)
        wrong = expected - data @ reader.columns(bytes_.dequantized(bytes_.quantized(scaled)))
        power = float(np.square(expected, dtype=np.float64).sum())
        if scheme.corrects_bias and reader.layer.takes_shift:
            wrong = wrong - wrong.mean(axis=1, keepdims=True)
        total += float(np.square(wrong, dtype=np.float64).sum()) / power if power else 0.0
    return total
