"""What a scheme does to a float network before it is quantized."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from dsc.quantize.calibration import Feed
from dsc.quantize.layers import Layer, find_layers
from dsc.quantize.network import Network
from dsc.quantize.rescale.cross_layer import equalize
from dsc.quantize.rescale.smooth import smooth
from dsc.quantize.scheme import StaticScheme


@dataclass(frozen=True)
class Change:
    """model: the float model, as it was but for rounding. notes: what was done to a layer, by its name, in words.
    factors: by what the channels of a layer's output are divided, where they are.
    """

    model: onnx.ModelProto
    notes: Mapping[str, list[str]]
    factors: Mapping[str, np.ndarray]


def rescale(
    network: Network,
    layers: Sequence[Layer],
    samples: Sequence[Feed],
    scheme: StaticScheme,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> Change:
    """Equalize and smooth a network, as its scheme says. Raises UsageError for samples that the model does not take."""
    notes: defaultdict[str, list[str]] = defaultdict(list)
    factors: dict[str, np.ndarray] = {}
    model = network.model
    if scheme.equalizes:
        rescaled, pairs = equalize(network, layers, samples, on_progress=on_progress)
        model = rescaled.model()
        factors.update(rescaled.of_outputs)
        for pair in pairs:
            assert pair.layer is not None  # it is a pair
            for reader in pair.readers:
                notes[pair.layer.name].append(f"equalized with {reader.name}")
                notes[reader.name].append(f"equalized with {pair.layer.name}")
    if scheme.smoothing != "none":
        network = Network(model)
        rescaled, found = smooth(network, find_layers(network), samples, scheme, on_progress=on_progress)
        model = rescaled.model()
        for name, more in rescaled.of_outputs.items():
            factors[name] = factors.get(name, np.ones(1)) * more
        for smoothed in found:
            for reader in smoothed.joint.readers:
                notes[reader.name].append(f"smoothed by {smoothed.strength:g}, {smoothed.decibels:+.1f} dB")
    return Change(model, notes, factors)
