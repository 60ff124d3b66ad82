"""SmoothQuant: outliers of activations that weights take over, channel by channel.

What a product reads is divided by ``s = max|x|^a / max|w|^(1 - a)`` in each channel and its weight multiplied by it:
the wider the channel, the larger s. The factors of a tensor are those of all products that read it together. They go
into what makes the tensor: a norm's scale and bias, constants behind an activation, the product before it.
(Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, 2022.)

Which a is best, or that it is better left, is tried out: products of bytes against those of floats, on rows of other
samples than those whose ranges are known, since channels that all fill the range are all cut off. A depthwise
convolution's weights have a scale for each channel as it is, so there a = 1 costs them nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsc.check.deviation import decibels
from dsc.quantize.calibration import Feed, Range, Values, collect
from dsc.quantize.grid import Grid, activation_grid, weight_grid
from dsc.quantize.layers import Layer
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.rescale.joints import Joint, find_joints
from dsc.quantize.rescale.rescaled import Rescaled
from dsc.quantize.scheme import StaticScheme

STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Values of a that are tried."""
_ROWS = 1024
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

    scheme.smoothing: "fold" for factors that the network has a place for, no operator being another one then, "insert"
    for all, by a product where there is none. Raises UsageError as `collect` does.
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
    """Whether factors may go there.

    One scale for a whole weight would suffer from factors in the product before. A Clip that becomes Min is an operator
    that runtimes do not take into an integer convolution, so it is no place that comes free.
    """
    if joint.layer is not None and not scheme.per_channel:
        return False
    return scheme.smoothing == "insert" or (bool(joint.makers) and not joint.clips)


class _Seen:
    """What is known of a joint's tensor in each half of the samples: the extremes of its channels, and rows for each
    product that reads it.
    """

    def __init__(self, network: Network, joint: Joint, rows: int) -> None:
        self.joint, self._rows = joint, rows
        self.readers = [Matrices.of(network, reader) for reader in joint.readers]
        self._extremes: list[tuple[np.ndarray, np.ndarray]] = []
        self._random = np.random.default_rng(0)
        self._parts: list[list[np.ndarray]] = []

    def add(self, values: Values) -> None:
        array = values.without_infinities
        axis = array.ndim - len(self.joint.along)
        others = tuple(other for other in range(array.ndim) if other != axis)
        self._extremes.append((array.min(axis=others, initial=0.0), array.max(axis=others, initial=0.0)))
        self._parts.append([np.array(reader.rows(array, self._rows, self._random)) for reader in self.readers])

    @property
    def is_known(self) -> bool:
        """Whether the tensor ever had an element."""
        return bool(self._parts)

    def extremes(self, samples: slice) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest number of each channel in some samples, 0 included."""
        low, high = zip(*self._extremes[samples], strict=True)
        return np.min(low, axis=0).astype(np.float64), np.max(high, axis=0).astype(np.float64)

    def rows(self, reader: int, samples: slice) -> np.ndarray:
        """[groups, rows, depth] of some samples."""
        return np.concatenate([parts[reader] for parts in self._parts[samples]], axis=1)

    @property
    def halves(self) -> list[tuple[slice, slice]]:
        """Samples to find factors and ranges by, and others to try these on; one sample is both."""
        first, second = slice(0, None, 2), slice(1, None, 2)
        return [(first, second), (second, first)] if len(self._parts) > 1 else [(first, first)]


def _best(network: Network, seen: _Seen, scheme: StaticScheme) -> tuple[np.ndarray, Smoothed | None]:
    """The factors that make the least error; None with those that change nothing."""
    joint = seen.joint
    weights = [network.constant(reader.weight) for reader in joint.readers]
    wide = [weight.astype(np.float64) for weight in weights if weight is not None]
    largest = np.max([p.largest(w) for p, w in zip(joint.weights, wide, strict=True)], axis=0)
    errors = {strength: _tried(seen, wide, largest, strength, scheme) for strength in (None, *STRENGTHS)}
    plain = errors.pop(None)
    strength, least = min(errors.items(), key=lambda found: found[1])
    if strength is None or plain <= least * _WORTH:
        return np.ones(joint.channels), None
    factors = _factors(*seen.extremes(slice(None)), largest, strength)
    return factors, Smoothed(joint, strength, decibels(plain, least))


def _tried(
    seen: _Seen, weights: Sequence[np.ndarray], largest: np.ndarray, strength: float | None, scheme: StaticScheme
) -> float:
    """The error on each half of the samples with factors and ranges of the other one; None for no factors."""
    total = 0.0
    for known, others in seen.halves:
        low, high = seen.extremes(known)
        factors = np.ones(seen.joint.channels) if strength is None else _factors(low, high, largest, strength)
        found = Range(float((low / factors).min()), float((high / factors).max()))
        total += _error(
            seen, others, weights, factors, activation_grid(found, scheme.activations, scheme.symmetric), scheme
        )
    return total


def _factors(low: np.ndarray, high: np.ndarray, weights: np.ndarray, strength: float) -> np.ndarray:
    """Of geometric mean 1; 1 for a channel that is 0 throughout, in data or weights."""
    data = np.maximum(high, -low)
    has_both = (data > 0) & (weights > 0)
    logs = np.where(has_both, strength * _log(data) - (1 - strength) * _log(weights), 0.0)
    return np.exp(np.where(has_both, logs - logs[has_both].mean() if has_both.any() else 0.0, 0.0))


def _log(array: np.ndarray) -> np.ndarray:
    return np.log(np.where(array > 0, array, 1.0))


def _error(
    seen: _Seen,
    samples: slice,
    weights: Sequence[np.ndarray],
    factors: np.ndarray,
    grid: Grid,
    scheme: StaticScheme,
) -> float:
    """The share of the outputs' power that bytes get wrong, over the products that read the tensor."""
    total = 0.0
    for index, (place, weight) in enumerate(zip(seen.joint.weights, weights, strict=True)):
        reader = seen.readers[index]
        scaled = place.scaled(weight, factors).astype(np.float32)
        bytes_ = weight_grid(scaled, reader.layer.channels if scheme.per_channel else None, scheme.weight_bits)
        spread = reader.columns(place.scaled(np.ones(weight.shape), factors)).astype(np.float32)[..., :1]
        rows = seen.rows(index, samples)
        data = grid.dequantized(grid.quantized(rows / spread.transpose(0, 2, 1)))
        expected = rows @ reader.columns(weight).astype(np.float32)
        wrong = expected - data @ reader.columns(bytes_.dequantized(bytes_.quantized(scaled)))
        power = float(np.square(expected, dtype=np.float64).sum())
        if scheme.corrects_bias and reader.layer.takes_shift:
            wrong = wrong - wrong.mean(axis=1, keepdims=True)
        total += float(np.square(wrong, dtype=np.float64).sum()) / power if power else 0.0
    return total
