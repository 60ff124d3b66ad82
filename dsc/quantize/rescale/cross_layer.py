"""Cross-layer equalization: weights of neighbouring products with equal ranges, channel by channel.

Where nothing but positively homogeneous functions are between two products,
``w2 f(w1 x + b1) = (w2 s) f((w1 x + b1) / s)`` for a positive s of each channel. With ``s = sqrt(r1 / r2)``, r the
largest weights of the channel before and after, both ranges become ``sqrt(r1 r2)``. What this does to one pair it
undoes in the next, so pairs take turns until nothing moves; of a depthwise convolution between two others all three
ranges become equal. (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019.)

Taken alone, this makes channels whose weights are small wide in the activations, which have one scale: a layer may
lose 20 dB. So samples set a bound, ``s >= m / l``, m the largest number of a channel. Rounding activations to bytes
adds noise of power ``sum of |w2|^2 max(m, l s)^2`` to the outputs, up to a factor; l is the largest for which that is
no more than it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dsc.quantize.calibration import Feed, channel_maxima
from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.rescale.joints import Joint, find_joints
from dsc.quantize.rescale.rescaled import Rescaled

_ROUNDS = 100
_SETTLED = 1e-3
"""Factors of a round differ so little from 1 in the end."""
_HALVINGS = 40


def equalize(
    network: Network,
    layers: Sequence[Layer],
    samples: Sequence[Feed],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Rescaled, list[Joint]]:
    """A network's pairs of products equalized, and these pairs. Raises UsageError as `collect` does."""
    pairs = [joint for joint in find_joints(network, layers) if joint.layer is not None]
    rescaled = Rescaled(network)
    axes = {pair.tensor: pair.readers[0].data_axis for pair in pairs}
    maxima: Mapping[str, np.ndarray] = {}
    if pairs:
        maxima = channel_maxima(network.model, samples, axes, on_progress=on_progress)
    bounds = [_Bound(rescaled, pair, maxima[pair.tensor]) for pair in pairs]
    for _ in range(_ROUNDS):
        moved = [_equalize(rescaled, pair, bound) for pair, bound in zip(pairs, bounds, strict=True)]
        if max(moved, default=0.0) < _SETTLED:
            break
    return rescaled, pairs


def _equalize(rescaled: Rescaled, pair: Joint, bound: _Bound) -> float:
    """Make a pair's ranges equal; how far its factors are from 1 at most.

    A channel whose weights are 0 before or after stays as it is.
    """
    weight = next(place for place in pair.makers if pair.layer is not None and place.node == pair.layer.name)
    before = weight.largest(rescaled.array(weight))
    after = np.max([place.largest(rescaled.array(place)) for place in pair.weights], axis=0)
    has_both = (before > 0) & (after > 0)
    factors = np.sqrt(np.where(has_both, before, 1.0) / np.where(has_both, after, 1.0))
    known = rescaled.factors(pair)
    bounded = bound.of(known * factors) / known
    rescaled.scale(pair, bounded)
    return float(np.abs(np.log(bounded)).max(initial=0.0))


class _Bound:
    """Of a pair's factors: what keeps the noise of rounding its tensor from growing."""

    def __init__(self, rescaled: Rescaled, pair: Joint, largest: np.ndarray) -> None:
        """largest: absolute values in the tensor's channels; `rescaled` has no factors yet."""
        self._largest = largest
        self._weights = np.sum([place.squares(rescaled.array(place)) for place in pair.weights], axis=0)
        self._allowed = float(largest.max(initial=0.0)) ** 2 * float(self._weights.sum())

    def of(self, factors: np.ndarray) -> np.ndarray:
        """The factors, those that make a channel too wide larger."""
        most = float((self._largest / factors).max(initial=0.0))
        if self._noise(most, factors) <= self._allowed:
            return factors
        low, high = 0.0, most
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._noise(middle, factors) <= self._allowed else (low, middle)
        return np.asarray(np.maximum(factors, self._largest / high))

    def _noise(self, width: float, factors: np.ndarray) -> float:
        """Up to a factor, where bytes reach `width`, and factors are no less than it takes for that."""
        return float(self._weights @ np.maximum(self._largest, width * factors) ** 2)
