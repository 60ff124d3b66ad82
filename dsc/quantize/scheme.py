"""What is quantized to what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dsc.quantize.grid import ByteType

Smoothing = Literal["none", "fold", "insert"]
Rounding = Literal["nearest", "adaptive"]


@dataclass(frozen=True)
class StaticScheme:
    """Products of bytes: activations by one scale each, found by calibration, weights by one for each output channel.

    activations, symmetric: their type, and whether 0 is in its middle. per_channel: else weights have one scale.
    weight_bits: 7 where runtimes add pairs of products in 16 bits, as ONNX Runtime does on x86 without VNNI.
    corrects_bias: whether what rounding weights and activations does to a channel's mean is taken out of its bias.
    keeps_residuals: sums that join a quantized product read the tensor before it becomes bytes.
    equalizes: ranges of weights of neighbouring products are made equal first (`rescale.cross_layer`). smoothing: wide
    channels of activations are left to the weights (`rescale.smooth`), where the network has a place for the factors
    ("fold"), or everywhere, by a product where there is none ("insert"). rounding: weights become the nearest byte, or
    that of two neighbours which is best for the layer's outputs ("adaptive", `rounding`).
    """

    activations: ByteType = "uint8"
    symmetric: bool = False
    per_channel: bool = True
    weight_bits: int = 8
    corrects_bias: bool = True
    keeps_residuals: bool = False
    equalizes: bool = False
    smoothing: Smoothing = "fold"
    rounding: Rounding = "nearest"

    @property
    def plain(self) -> StaticScheme:
        """The scheme without what makes it more accurate than nearest bytes of the model as it is."""
        return replace(self, equalizes=False, smoothing="none", rounding="nearest")
