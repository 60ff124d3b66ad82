"""The layers of a model with zeros in its weights: which kernels could skip them, which was taken, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsc.cli.console import print_table

Recorded = Mapping[str, Any]
"""As a manifest has it: the fields of `dsc.codegen.Choice` and of `dsc.codegen.layers.Layer`."""
_OTHER_KIND = "0 "
"""How a refusal begins of a kernel that is for another kind of layer: 0 convolutions, 0 products."""


@dataclass(frozen=True)
class Verdict:
    """What became of a layer.

    Gains are how many times as fast the best kernel that skips zeros is as the best other one.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    zeros: float
    pattern: str
    kept: float
    eligible: bool
    """Whether a kernel that skips zeros could compute it."""
    kernel: str
    skips_zeros: bool
    """Whether the kernel that was chosen does."""
    predicted: float | None
    """By the kernels' estimates."""
    measured: float | None
    """Where both were measured."""
    reason: str
    """Why it does not skip zeros; empty where it does."""


def verdicts(layers: Sequence[Recorded], kernels: Sequence[Recorded]) -> list[Verdict]:
    """One for each layer, in the order of the model."""
    return [_verdict(layer, kernels[layer["choice"]]) for layer in layers]


def print_layers(layers: Sequence[Recorded], kernels: Sequence[Recorded]) -> None:
    """A row for each layer, and how many skip zeros."""
    found = verdicts(layers, kernels)
    if not found:
        print("no weight with zeros enough to count")
        return
    columns = ["layer", "op", "weight", "zeros %", "pattern", "kept %", "kernel", "predicted", "measured", "why dense"]
    print_table(columns, [_row(each) for each in found], title="times as fast as the best kernel that multiplies zeros")
    print(summary(found))


def summary(found: Sequence[Verdict]) -> str:
    """How many layers skip zeros, in a line."""
    taken, eligible = sum(each.skips_zeros for each in found), sum(each.eligible for each in found)
    return f"zeros are skipped in {taken} layers of {len(found)}; {eligible} could"


def _verdict(layer: Recorded, kernel: Recorded) -> Verdict:
    rivals = kernel.get("rivals", ())
    skipping = [rival for rival in rivals if rival["skips_zeros"]]
    usable = [rival for rival in skipping if rival["estimate"] is not None]
    others = [rival for rival in rivals if not rival["skips_zeros"]]
    chosen = kernel["kernel"]
    taken = any(rival["kernel"] == chosen for rival in usable)
    predicted, measured = (_gain(others, usable, key) for key in ("estimate", "measured"))
    reason = "" if taken else _why_dense(layer, skipping, usable, predicted, measured)
    return Verdict(
        layer["name"], layer["op"], tuple(layer["shape"]), layer["zeros"], layer["pattern"], layer["kept"],
        bool(usable), chosen, taken, predicted, measured, reason,
    )  # fmt: skip


def _gain(others: Sequence[Recorded], usable: Sequence[Recorded], key: str) -> float | None:
    """The least time of the others by that of those which skip zeros; None where either is not known."""
    least = [min((rival[key] for rival in rivals if rival[key]), default=None) for rivals in (others, usable)]
    return None if least[0] is None or least[1] is None else float(least[0] / least[1])


def _why_dense(
    layer: Recorded,
    skipping: Sequence[Recorded],
    usable: Sequence[Recorded],
    predicted: float | None,
    measured: float | None,
) -> str:
    if not skipping:
        return "this target has no kernel that skips zeros"
    if layer["obstacle"]:
        return str(layer["obstacle"])
    if not usable:
        reasons = [rival["refusal"] for rival in skipping if not rival["refusal"].startswith(_OTHER_KIND)]
        return "; ".join(dict.fromkeys(reasons)) or "no kernel that skips zeros is for such a layer"
    if measured is not None:
        return "measured slower"
    return "slower by estimate" if predicted is not None and predicted <= 1 else "not taken"


def _row(each: Verdict) -> list[str]:
    return [
        each.name, each.op, "x".join(map(str, each.shape)), f"{100 * each.zeros:.1f}", each.pattern,
        f"{100 * each.kept:.1f}" if each.pattern else "", each.kernel, _times(each.predicted), _times(each.measured),
        each.reason,
    ]  # fmt: skip


def _times(gain: float | None) -> str:
    return "" if gain is None else f"{gain:.2f}"
