"""What became of each layer, and why."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerReport:
    """A layer: its node and operator, its multiply-adds, and what it is in.

    snr: signal-to-noise ratio of its output in decibels when it alone is in bytes; None where it has no form in bytes.
    quantized: whether it is in bytes. reason: why, or why not.
    """

    name: str
    op: str
    macs: int
    snr: float | None
    quantized: bool
    reason: str


@dataclass(frozen=True)
class Accuracy:
    """What an evaluation gives for the float model and the quantized one, and how often it was asked."""

    in_float: float
    quantized: float
    evaluations: int

    @property
    def drop(self) -> float:
        """How much is lost; negative where something is gained."""
        return self.in_float - self.quantized


@dataclass(frozen=True)
class Report:
    """layers: in the order of the model. snr: of the model's outputs, in decibels, on samples of the calibration."""

    layers: tuple[LayerReport, ...]
    snr: float
    accuracy: Accuracy | None

    @property
    def share(self) -> float:
        """The part of all multiply-adds that is in bytes."""
        total = sum(layer.macs for layer in self.layers)
        return sum(layer.macs for layer in self.layers if layer.quantized) / total if total else 0.0

    @property
    def excluded(self) -> list[str]:
        """The layers that could be in bytes and are not: a list for a policy."""
        return [layer.name for layer in self.layers if not layer.quantized and layer.snr is not None]

    def worst_first(self) -> list[LayerReport]:
        """The layers, the most sensitive first, those without a form in bytes last."""
        return sorted(self.layers, key=lambda layer: math.inf if layer.snr is None else layer.snr)

    def to_json(self) -> dict[str, Any]:
        """All of it; ratios that are infinite, as of a constant output, are null."""
        layers = [{**asdict(layer), "snr": _finite(layer.snr)} for layer in self.layers]
        accuracy = None if self.accuracy is None else {**asdict(self.accuracy), "drop": self.accuracy.drop}
        return {
            "layers": layers,
            "snr": _finite(self.snr),
            "int8_share": self.share,
            "excluded": self.excluded,
            "accuracy": accuracy,
        }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
