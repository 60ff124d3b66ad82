"""ResNet-18 and ResNet-50 v1.5 (He et al., 2016; the stride is on the 3x3, as torchvision has it)."""

from __future__ import annotations

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.layers import Layers
from dsc.models.weights import Random

_WIDTHS = (64, 128, 256, 512)


def resnet18() -> onnx.ModelProto:
    """Basic blocks, 11.7 million parameters, seeded."""
    return _resnet("resnet18", (2, 2, 2, 2), expansion=1)


def resnet50() -> onnx.ModelProto:
    """Bottleneck blocks, 25.6 million parameters, seeded."""
    return _resnet("resnet50", (3, 4, 6, 3), expansion=4)


def _resnet(name: str, depths: tuple[int, ...], expansion: int) -> onnx.ModelProto:
    graph = Builder(name)
    layers = Layers(graph, Random(seed=18 if expansion == 1 else 50))
    x = graph.input("input", np.float32, ("batch", 3, 224, 224))
    x = layers.conv(x, "conv1", (3, 64), 7, stride=2)
    x = graph.op("Relu", layers.batch_norm(x, "bn1", 64))
    x = layers.max_pool(x, 3, 2, pad=1)
    channels = 64
    for stage, (width, depth) in enumerate(zip(_WIDTHS, depths, strict=True), start=1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            with graph.scope(f"layer{stage}/layer{stage}.{index}"):
                x = _block(layers, x, f"layer{stage}.{index}", channels, width, stride, expansion)
            channels = width * expansion
    layers.classifier(x, "fc", channels, 1000)
    return graph.model()


def _block(layers: Layers, x: str, name: str, before: int, width: int, stride: int, expansion: int) -> str:
    graph, after = layers.graph, width * expansion
    # (kernel, channels in, channels out, stride) of the branch's convolutions
    plan = (
        [(3, before, width, stride), (3, width, width, 1)]
        if expansion == 1
        else [(1, before, width, 1), (3, width, width, stride), (1, width, after, 1)]
    )
    y = x
    for index, (kernel, fan_in, fan_out, step) in enumerate(plan, start=1):
        last = index == len(plan)
        y = layers.conv(y, f"{name}.conv{index}", (fan_in, fan_out), kernel, stride=step)
        y = layers.batch_norm(y, f"{name}.{'residual_norm' if last else f'bn{index}'}", fan_out)
        if not last:
            y = graph.op("Relu", y)
    if stride != 1 or before != after:
        x = layers.conv(x, f"{name}.downsample.0", (before, after), 1, stride=stride)
        x = layers.batch_norm(x, f"{name}.downsample.1", after)
    return graph.op("Relu", graph.op("Add", y, x))
