"""A pruned model: what became of each layer, and why."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from dsc.prune.save import save_proto


@dataclass(frozen=True)
class LayerReport:
    """A weight, by the name of the first product that reads it.

    size, zeros: of its numbers. snr: signal-to-noise ratio of the outputs in decibels, noise being what pruning adds on
    the calibration data to the best that dense weights would give there; of the weights without data; None where it was
    not pruned. reason: why it is as it is. notes: what else is to be said. rows: of calibration data, where what stays
    was fitted to it, else None; depth: how many numbers of an output are fitted at most.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    size: int
    zeros: int
    snr: float | None
    reason: str = ""
    notes: tuple[str, ...] = ()
    rows: int | None = None
    depth: int = 0

    @property
    def sparsity(self) -> float:
        """The share of zeros."""
        return self.zeros / self.size if self.size else 0.0


@dataclass(frozen=True)
class Made:
    """A model as it was asked for, and its layers."""

    model: onnx.ModelProto
    layers: tuple[LayerReport, ...]


@dataclass(frozen=True)
class Compared:
    """An evaluation of the float model and of the pruned one, on so many samples; None where that is not known."""

    in_float: float
    pruned: float
    samples: int | None

    @property
    def drop(self) -> float:
        """How much is lost; negative where something is gained."""
        return self.in_float - self.pruned


@dataclass(frozen=True)
class Accuracy:
    """decided: on the samples by which a sparsity was chosen, all where none was. held_out: on the others, None where
    there are none. evaluations: how many models were judged, the float one too.
    """

    decided: Compared
    held_out: Compared | None
    evaluations: int


@dataclass(frozen=True)
class Speed:
    """How many times as fast a model is as the float one: what was asked for, by estimate, and measured on this
    machine, None where the target's code does not run here.
    """

    asked: float
    estimated: float
    measured: float | None
    target: str


@dataclass(frozen=True)
class Report:
    """layers: in the order of the model. snr: of the model's outputs on calibration samples, None without any.

    speed: None where none was asked for. samples: of calibration data; 0 without any.
    """

    layers: tuple[LayerReport, ...]
    snr: float | None
    accuracy: Accuracy | None
    pattern: str
    method: str
    speed: Speed | None = None
    samples: int = 0

    @property
    def sparsity(self) -> float:
        """The share of zeros in the weights of all layers that the pattern fits."""
        sizes, zeros = (sum(getattr(layer, key) for layer in self.layers) for key in ("size", "zeros"))
        return zeros / sizes if sizes else 0.0

    @property
    def needed_samples(self) -> int | None:
        """How many samples there should be at least for second order, where there are fewer: those with which each
        layer has as many rows as numbers that are fitted to them. None where there are enough.
        """
        short = [layer for layer in self.layers if layer.rows and layer.rows < layer.depth]
        return max((-(-self.samples * layer.depth // (layer.rows or 1)) for layer in short), default=None)

    def to_json(self) -> dict[str, Any]:
        """All of it; ratios that are infinite, as of a layer that lost nothing, are null."""
        layers = [{**asdict(layer), "snr": _finite(layer.snr), "sparsity": layer.sparsity} for layer in self.layers]
        return {
            "pattern": self.pattern,
            "method": self.method,
            "sparsity": self.sparsity,
            "snr": _finite(self.snr),
            "samples": self.samples,
            "needed_samples": self.needed_samples,
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "speed": None if self.speed is None else asdict(self.speed),
            "layers": layers,
        }


@dataclass(frozen=True)
class Pruned:
    """model: plain ONNX, dense tensors with zeros in them. report: what became of each layer."""

    model: onnx.ModelProto
    report: Report

    def save(self, path: str | Path) -> None:
        """Write the model as an ONNX file, whole or not at all; weights beside it (`.data`) where they are too many.

        Raises UsageError where it cannot be written.
        """
        save_proto(self.model, Path(path))


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
