"""A quantized model: what became of each layer, and why."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from dsc.files import writing


@dataclass(frozen=True)
class LayerReport:
    """A layer: its node and operator, its size, and what it is in.

    size: multiply-adds, or weights, as the report says. snr: signal-to-noise ratio in decibels when it alone is
    quantized, of its output, or of its weights where there were no samples; None where it cannot be quantized.
    quantized: whether it is. reason: why, or why not. half: the half precision that it is in ("fp16"), as the scheme or
    a policy has it; None for none. methods: what was done so that
    bytes fit it better. gain: by how many decibels these raise its ratio, None without any.
    """

    name: str
    op: str
    size: int
    snr: float | None
    quantized: bool
    reason: str
    half: str | None = None
    methods: tuple[str, ...] = ()
    gain: float | None = None


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
    """layers: in the order of the model. snr: of the model's outputs, in decibels, on samples of the calibration, None
    where there are none. unit: of the layers' sizes.
    """

    layers: tuple[LayerReport, ...]
    snr: float | None
    accuracy: Accuracy | None
    unit: str

    @property
    def share(self) -> float:
        """The part of all multiply-adds, or weights, that is quantized."""
        total = sum(layer.size for layer in self.layers)
        return sum(layer.size for layer in self.layers if layer.quantized) / total if total else 0.0

    @property
    def excluded(self) -> list[str]:
        """The layers that could be quantized and are in float: a list for a policy."""
        found = (layer for layer in self.layers if not (layer.quantized or layer.half) and layer.snr is not None)
        return [layer.name for layer in found]

    def worst_first(self) -> list[LayerReport]:
        """The layers, the most sensitive first, those without a form in bytes last."""
        return sorted(self.layers, key=lambda layer: math.inf if layer.snr is None else layer.snr)

    def to_json(self) -> dict[str, Any]:
        """All of it; ratios that are infinite, as of a constant output, are null."""
        layers = [{**asdict(layer), "snr": _finite(layer.snr), "gain": _finite(layer.gain)} for layer in self.layers]
        accuracy = None if self.accuracy is None else {**asdict(self.accuracy), "drop": self.accuracy.drop}
        return {
            "layers": layers,
            "snr": _finite(self.snr),
            "share": self.share,
            "unit": self.unit,
            "excluded": self.excluded,
            "accuracy": accuracy,
        }


@dataclass(frozen=True)
class Quantized:
    """model: plain ONNX. report: what became of each layer."""

    model: onnx.ModelProto
    report: Report

    def save(self, path: str | Path) -> None:
        """Write the model as an ONNX file, whole or not at all. Raises UsageError where it cannot be written."""
        with writing(Path(path)) as file:
            file.write(self.model.SerializeToString())


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
