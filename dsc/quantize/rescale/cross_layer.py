"""Cross-layer equalization: weights of neighbouring products with equal ranges, channel by channel.

Where nothing but positively homogeneous functions are between two products,
``w2 f(w1 x + b1) = (w2 s) f((w1 x + b1) / s)`` for a positive s of each channel. With ``s = sqrt(r1 / r2)``, r the
largest weights of the channel before and after, both ranges become ``sqrt(r1 r2)``. What this does to one pair it
undoes in the next, so pairs take turns until nothing moves; of a depthwise convolution between two others all three
ranges become equal. (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019.)

Taken alone, this makes channels whose weights are small wide in the activations, which have one scale: a layer may lose
20 dB. So samples set a bound: no channel becomes wider than the widest one.
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
    for _ in range(_ROUNDS):
        moved = [_equalize(rescaled, pair, maxima[pair.tensor]) for pair in pairs]
        if max(moved, default=0.0) < _SETTLED:
            break
    return rescaled, pairs


def _equalize(rescaled: Rescaled, pair: Joint, largest: np.ndarray) -> float:
    """Make a pair's ranges equal; how far its factors are from 1 at most.

    largest: absolute values in the tensor's channels. A channel whose weights are 0 before or after stays as it is.
    """
    weight = next(place for place in pair.makers if pair.layer is not None and place.node == pair.layer.name)
    before = weight.largest(rescaled.array(weight))
    after = np.max([place.largest(rescaled.array(place)) for place in pair.weights], axis=0)
    has_both = (before > 0) & (after > 0)
    factors = np.sqrt(np.where(has_both, before, 1.0) / np.where(has_both, after, 1.0))
    bounded = _bounded(factors, largest / rescaled.factors(pair))
    rescaled.scale(pair, bounded)
    return float(np.abs(np.log(bounded)).max(initial=0.0))


def _bounded(factors: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Factors that make no channel wider than that which is the widest."""
    widest = int(np.argmax(largest))
    if not largest[widest]:
        return factors
    return np.maximum(factors, factors[widest] * largest / largest[widest])
