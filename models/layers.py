"""Layers of convolutional networks, spelled as PyTorch's exporter spells them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.models.builder import Builder
from dsc.models.weights import Weights


@dataclass(frozen=True)
class Layers:
    """Appends layers to a graph, with parameters from `weights`. Feature maps are NCHW."""

    graph: Builder
    weights: Weights
    epsilon: float = 1e-5

    def parameter(self, name: str, *shape: int) -> str:
        """The initializer `name` of this shape."""
        return self.graph.weight(name, self.weights(name, *shape))

    def conv(
        self,
        x: str,
        name: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        pads: tuple[int, int, int, int] | None = None,
        bias: bool = False,
    ) -> str:
        """A square convolution from channels[0] to channels[1]; `pads` defaults to half the kernel."""
        before, after = channels
        operands = [x, self.parameter(f"{name}.weight", after, before // groups, kernel, kernel)]
        if bias:
            operands.append(self.parameter(f"{name}.bias", after))
        return self.graph.op(
            "Conv",
            *operands,
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=list(pads or [kernel // 2] * 4),
            strides=[stride, stride],
        )

    def batch_norm(self, x: str, name: str, channels: int) -> str:
        """Batch normalization with stored statistics."""
        parts = ("weight", "bias", "running_mean", "running_var")
        scale = [self.parameter(f"{name}.{part}", channels) for part in parts]
        return self.graph.op("BatchNormalization", x, *scale, epsilon=self.epsilon)

    def relu6(self, x: str) -> str:
        """Clip to 0..6, the bounds as constants."""
        return self.graph.op("Clip", x, self.graph.scalar(0.0), self.graph.scalar(6.0))

    def silu(self, x: str) -> str:
        """x * sigmoid(x), two nodes."""
        return self.graph.op("Mul", x, self.graph.op("Sigmoid", x))

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Square max pooling."""
        return self.graph.op("MaxPool", x, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2, ceil_mode=0)

    def linear(self, x: str, name: str, before: int, after: int) -> str:
        """Gemm with a transposed weight: x (N, before) to (N, after)."""
        weight = self.parameter(f"{name}.weight", after, before)
        bias = self.parameter(f"{name}.bias", after)
        return self.graph.op("Gemm", x, weight, bias, alpha=1.0, beta=1.0, transB=1)

    def classifier(self, x: str, name: str, channels: int, classes: int) -> None:
        """Global average pooling, flatten, linear; declares the output "logits"."""
        pooled = self.graph.op("Flatten", self.graph.op("GlobalAveragePool", x), axis=1)
        logits = self.linear(pooled, name, channels, classes)
        self.graph.output("logits", logits, np.float32, ("batch", classes))
