"""The errors of layers as a picture."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

from dsc.check.layers import LayerReport
from dsc.errors import UsageError
from dsc.files import writing

_SUFFIXES = (".svg", ".png")
_NAMED = 6
"""Layers with the worst own errors, whose names are written beside them."""


def check_picture(path: Path) -> None:
    """Raise UsageError where a picture cannot be drawn, before the work."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path}: pictures are {', '.join(_SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("pictures are drawn by matplotlib, which is not installed: pip install 'dsc[pictures]'")


def draw_layers(report: LayerReport, title: str, path: Path) -> None:
    """Draw the signal-to-noise ratio of each layer, in the model's order, as an svg or png.

    Layers without an error are left out. The same report gives the same bytes. Raises UsageError where the file
    cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="layer, in the model's order", ylabel="signal-to-noise ratio (dB)", title=title)
    accumulated = [layer.accumulated.snr for layer in report.layers]
    own = [math.inf if layer.own is None else layer.own.snr for layer in report.layers]
    axes.plot(*_points(own), ".", color="tab:orange", label="own error")
    axes.plot(*_points(accumulated), ".-", color="tab:blue", linewidth=0.8, label="accumulated error")
    for layer in report.worst_own_first[:_NAMED]:
        place = report.layers.index(layer)
        if math.isfinite(own[place]):
            axes.annotate(layer.tensor, (place, own[place]), xytext=(4, -10), textcoords="offset points", fontsize=7)
    axes.set_xlim(-1, len(report.layers))
    axes.grid(alpha=0.3)
    axes.legend()
    kind = path.suffix.lower().removeprefix(".")
    with matplotlib.rc_context({"svg.hashsalt": "dsc"}), writing(path) as file:
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _points(ratios: list[float]) -> tuple[list[int], list[float]]:
    """The places of the layers that have an error, and their ratios."""
    found = [(index, ratio) for index, ratio in enumerate(ratios) if math.isfinite(ratio)]
    return [index for index, _ in found], [ratio for _, ratio in found]
