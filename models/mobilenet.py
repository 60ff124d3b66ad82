"""MobileNetV2 (Sandler et al., 2018), seeded random weights."""

from __future__ import annotations

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.layers import Layers
from dsc.models.weights import Random

# expansion, channels, repeats, stride of the first: table 2 of the paper
_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v2() -> onnx.ModelProto:
    """3.5 million parameters; input (batch, 3, 224, 224), output logits (batch, 1000)."""
    graph = Builder("mobilenet-v2")
    layers = Layers(graph, Random(seed=2))
    x = graph.input("input", np.float32, ("batch", 3, 224, 224))
    x = _conv_norm(layers, x, "features.0", (3, 32), 3, stride=2)
    channels, block = 32, 1
    for expansion, width, repeats, first_stride in _STAGES:
        for index in range(repeats):
            with graph.scope(f"features/features.{block}"):
                stride = first_stride if index == 0 else 1
                x = _inverted_residual(layers, x, f"features.{block}", (channels, width), stride, expansion)
            channels, block = width, block + 1
    x = _conv_norm(layers, x, f"features.{block}", (channels, 1280), 1)
    layers.classifier(x, "classifier.1", 1280, 1000)
    return graph.model()


def _conv_norm(
    layers: Layers,
    x: str,
    name: str,
    channels: tuple[int, int],
    kernel: int,
    stride: int = 1,
    groups: int = 1,
) -> str:
    x = layers.conv(x, f"{name}.0", channels, kernel, stride=stride, groups=groups)
    return layers.relu6(layers.batch_norm(x, f"{name}.1", channels[1]))


def _inverted_residual(
    layers: Layers, x: str, name: str, channels: tuple[int, int], stride: int, expansion: int
) -> str:
    before, after = channels
    hidden, y = before * expansion, x
    if expansion != 1:
        y = _conv_norm(layers, y, f"{name}.expand", (before, hidden), 1)
    y = _conv_norm(layers, y, f"{name}.depthwise", (hidden, hidden), 3, stride=stride, groups=hidden)
    y = layers.conv(y, f"{name}.project", (hidden, after), 1)
    if stride == 1 and before == after:
        return layers.graph.op("Add", x, layers.batch_norm(y, f"{name}.residual_norm", after))
    return layers.batch_norm(y, f"{name}.project_norm", after)
