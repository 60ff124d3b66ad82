"""Where a network's parameters come from: a checkpoint, or a seeded generator."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Weights(Protocol):
    """Parameters by the name and shape that PyTorch's state dict gives them."""

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """The float32 parameter `name`; raises ValueError if there is none of this shape."""
        ...


class Checkpoint:
    """Parameters read from a file."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """See `Weights`."""
        array = self._arrays.get(name)
        if array is None:
            raise ValueError(f"the checkpoint has no parameter {name}")
        if array.shape != shape:
            raise ValueError(f"parameter {name} is {array.shape} in the checkpoint, expected {shape}")
        return np.asarray(array, np.float32)


class Random:
    """Seeded parameters that keep activations in range and batch norms from being identities.

    Each parameter has a stream of its own, so adding a layer does not change the others. Convolutions and
    matrices keep the variance (He et al., 2015; residual branches are damped by their last
    norm, as in Zhang et al., "Fixup", 2019); norms have scales and variances in 0.5..1.5, and small shifts.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """See `Weights`."""
        random = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        kind = name.rsplit(".", 1)[-1]
        if kind in ("bias", "running_mean"):
            return random.standard_normal(shape, np.float32) * np.float32(0.05)
        if kind == "running_var" or len(shape) == 1:
            damping = 0.3 if name.endswith("residual_norm.weight") else 1.0
            return (random.random(shape, np.float32) + np.float32(0.5)) * np.float32(damping)
        if kind == "embedding":
            return random.standard_normal(shape, np.float32) * np.float32(0.3)
        fan_in = int(np.prod(shape[1:]))
        gain = 2.0 if len(shape) == 4 else 1.0
        return random.standard_normal(shape, np.float32) * np.float32((gain / fan_in) ** 0.5)
