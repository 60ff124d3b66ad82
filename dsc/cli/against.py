"""`dsc verify --against`: a quantized model and its float model, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dsc.cli.console import print_table, progress, write_json
from dsc.cli.feeds import files_named
from dsc.cli.outputs import claim
from dsc.cli.samples import Wanted, find_inputs
from dsc.cli.source import find_model

if TYPE_CHECKING:
    from dsc.check.layers import LayerError, LayerReport

_ROWS = 25
"""Layers that are printed; all are in the report of --json."""


def compare_with_float(
    quantized: str,
    against: str,
    wanted: Wanted,
    shape: Sequence[str] | None,
    pinned: bool,
    threads: int | None,
    json: Path | None,
    picture: Path | None,
) -> None:
    """Print the errors of the quantized model's layers, worst first. Raises UsageError."""
    source, float_source = find_model(quantized), find_model(against)
    shapes = float_source.shapes(shape, pinned)
    reads: list[str | Path | None] = [source.path, float_source.path, *wanted.data, *files_named(wanted.files)]
    claim({"--json": json, "--picture": picture}, reads)
    from dsc.check import Reference
    from dsc.check.interface import input_specs, load_model
    from dsc.check.layer_picture import check_picture, draw_layers
    from dsc.check.layers import compare_layers
    from dsc.exchange import import_model

    if picture is not None:
        check_picture(picture)
    model, graph = load_model(float_source.path), import_model(float_source.path, shapes=shapes)
    with progress() as tell:
        reference = Reference(float_source.path, threads)
        feeds, origin = find_inputs(float_source, graph, input_specs(model), wanted, reference)
        report = compare_layers(model, load_model(source.path), feeds, threads, progress=tell)
    _print_report(report, source.name, float_source.name, origin)
    if picture is not None:
        draw_layers(report, f"{source.name} against {float_source.name}", picture)
    write_json(json, {"model": quantized, "against": against, "inputs": origin, **_report(report)})


def _print_report(report: LayerReport, quantized: str, float_: str, origin: str) -> None:
    worst = report.worst_first
    print(f"{quantized} against {float_} on {report.samples} sample(s), in ONNX Runtime; worst first")
    print_table(
        ["layer", "operator", "SNR (dB)", "own SNR (dB)", "max error", "cosine"], [_row(e) for e in worst[:_ROWS]]
    )
    if len(worst) > _ROWS:
        print(f"  and {len(worst) - _ROWS} more, which --json FILE has")
    sources = [f"{layer.tensor} ({_decibels(layer.own.snr)} dB)" for layer in report.worst_own_first[:3] if layer.own]
    if sources:
        print(f"  worst by themselves: {', '.join(sources)}")
    print(f"  inputs: {origin}")
    if report.unmatched:
        print(f"  {report.unmatched} tensors of {float_} have no namesake in {quantized}")
    for note in report.notes:
        print(f"  note: {note}")


def _row(layer: LayerError) -> list[str]:
    own = "-" if layer.own is None else _decibels(layer.own.snr)
    found = layer.accumulated
    return [layer.tensor, layer.op, _decibels(found.snr), own, f"{found.max_abs:.3g}", f"{found.cosine:.5f}"]


def _decibels(snr: float) -> str:
    return f"{snr:.1f}" if math.isfinite(snr) else "equal" if snr > 0 else "infinite error"


def _report(report: LayerReport) -> dict[str, object]:
    """Plain data, worst first; what is infinite is text, as JSON has no number for it."""
    place = {layer.tensor: index for index, layer in enumerate(report.layers)}
    layers = [
        {
            "place": place[layer.tensor],
            "tensor": layer.tensor,
            "operator": layer.op,
            "node": layer.node,
            "accumulated": _numbers(asdict(layer.accumulated)),
            "own": None if layer.own is None else _numbers(asdict(layer.own)),
        }
        for layer in report.worst_first
    ]
    return {"samples": report.samples, "layers": layers, "unmatched": report.unmatched, "notes": list(report.notes)}


def _numbers(errors: dict[str, float]) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else str(value) for name, value in errors.items()}
