"""What was approximated on purpose, and by how much it is off, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsc.cli.console import print_table
from dsc.cli.figures import decibels

Recorded = Mapping[str, Any]
"""As a manifest has it: see `dsc.check.approximation.Approximation.to_json`."""


def print_approximation(approximation: Recorded) -> None:
    """A row for each attention and each output, on what they were measured, and what was refused."""
    attentions, outputs = approximation["attentions"], approximation["outputs"]
    if attentions:
        rows = [_row(each) for each in attentions]
        rows += [[name, "", "", "", *_figures(error)] for name, error in outputs.items()]
        columns = ["approximated", "window", "keep", "own SNR dB", "SNR dB", "max error", "cosine"]
        print_table(columns, rows, title="attention to some of its keys against all of it")
        print(f"  measured on: {approximation['inputs']}" if outputs else f"  {approximation['inputs']}")
    else:
        print("no attention was approximated")
    for reason, count in approximation["refused"].items():
        print(f"  not approximated, {count}: {reason}")


def _row(attention: Recorded) -> list[str]:
    limits = (_stated(attention[name]) for name in ("window", "keep"))
    return [attention["name"] or "-", *limits, _snr(attention["own"]), *_figures(attention["accumulated"])]


def _stated(limit: float | None) -> str:
    return "-" if limit is None else f"{limit:g}"


def _snr(error: Recorded | None) -> str:
    return "" if error is None else decibels(float(error["snr"]))


def _figures(error: Recorded | None) -> list[str]:
    if error is None:
        return ["", "", ""]
    return [_snr(error), f"{float(error['max_abs']):.3g}", f"{float(error['cosine']):.5f}"]
