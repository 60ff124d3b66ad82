"""What the search for an accuracy asks of a scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import onnx

from dsc.quantize.quantized import Accuracy, Quantized

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told a phase, the steps done and how many there are, 0 where nobody knows."""


class Work(Protocol):
    """A model on the way to a scheme, of which the most sensitive layers may stay in float."""

    float_model: onnx.ModelProto

    @property
    def open_layers(self) -> int:
        """How many layers there are for which accuracy decides."""
        ...

    @property
    def required(self) -> str:
        """The layers that a policy wants quantized, for messages."""
        ...

    def model(self, count: int) -> onnx.ModelProto:
        """The quantized model, so many of the most sensitive layers in float."""
        ...

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        """That model, and what became of each layer."""
        ...
