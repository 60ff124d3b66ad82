"""Cross-layer equalization: weights of neighbouring products with equal ranges, channel by channel, without data.

Where nothing but positively homogeneous functions are between two products, ``w2 f(w1 x + b1) = (w2 s) f((w1 x + b1) / s)``
for a positive s of each channel. With ``s = sqrt(r1 / r2)``, r the largest weights of the channel before and after, both
ranges become ``sqrt(r1 r2)``. What this does to one pair it undoes in the next, so pairs take turns until nothing moves;
of a depthwise convolution between two others all three ranges become equal.
(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.rescale.joints import Joint, find_joints
from dsc.quantize.rescale.rescaled import Rescaled

_ROUNDS = 100
_SETTLED = 1e-3
"""Factors of a round differ so little from 1 in the end."""


def equalize(network: Network, layers: Sequence[Layer]) -> tuple[Rescaled, list[Joint]]:
    """A network's pairs of products equalized, and these pairs."""
    pairs = [joint for joint in find_joints(network, layers) if joint.layer is not None]
    rescaled = Rescaled(network)
    for _ in range(_ROUNDS):
        moved = [_equalize(rescaled, pair) for pair in pairs]
        if max(moved, default=0.0) < _SETTLED:
            break
    return rescaled, pairs


def _equalize(rescaled: Rescaled, pair: Joint) -> float:
    """Make a pair's ranges equal; how far its factors are from 1 at most.

    A channel that is 0 before or after stays as it is.
    """
    weight = next(place for place in pair.makers if pair.layer is not None and place.node == pair.layer.name)
    before = weight.largest(rescaled.array(weight))
    after = np.max([place.largest(rescaled.array(place)) for place in pair.weights], axis=0)
    has_both = (before > 0) & (after > 0)
    factors = np.sqrt(np.where(has_both, before, 1.0) / np.where(has_both, after, 1.0))
    rescaled.scale(pair, factors)
    return float(np.abs(np.log(factors)).max(initial=0.0))
