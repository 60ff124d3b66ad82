"""VGG-16 (Simonyan and Zisserman, 2015), seeded random weights."""

from __future__ import annotations

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.layers import Layers
from dsc.models.weights import Random

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16() -> onnx.ModelProto:
    """138 million parameters; input (batch, 3, 224, 224), output logits (batch, 1000)."""
    graph = Builder("vgg16")
    layers = Layers(graph, Random(seed=16))
    x = graph.input("input", np.float32, ("batch", 3, 224, 224))
    channels = 3
    for stage, (width, depth) in enumerate(_STAGES):
        for index in range(depth):
            x = layers.conv(x, f"features.{stage}.{index}", (channels, width), 3, bias=True)
            x = graph.op("Relu", x)
            channels = width
        x = layers.max_pool(x, 2, 2)
    x = graph.op("Flatten", x, axis=1)
    x = graph.op("Relu", layers.linear(x, "classifier.0", 512 * 7 * 7, 4096))
    x = graph.op("Relu", layers.linear(x, "classifier.3", 4096, 4096))
    x = layers.linear(x, "classifier.6", 4096, 1000)
    graph.output("logits", x, np.float32, ("batch", 1000))
    return graph.model()
