"""The kernels of a compiled model, for people: what they are expected to take, and what they take of the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsc.cli.console import print_table

Kernel = Mapping[str, Any]
"""As a manifest has it: the fields of `dsc.codegen.Choice`."""


def print_kernels(kernels: Sequence[Kernel]) -> None:
    """Print each kernel with its estimate and its roofline, and its launches with their resources."""
    columns = ["kernel", "point", "calls", "GMAC", "MB", "estimate, us", "roofline, us", "share"]
    print_table(columns, [_figures(kernel) for kernel in kernels], title="estimated, for one call: not measured")
    launches = [used for kernel in kernels for used in kernel.get("resources", ())]
    if launches:
        columns = ["launch", "threads", "registers", "spilled", "stack", "shared", "blocks", "occupancy", "matrix"]
        print_table(columns, [_resources(used) for used in launches], title="of a multiprocessor, bytes")
    if (total := estimated(kernels)) is not None:
        print(total)


def estimated(kernels: Sequence[Kernel]) -> str | None:
    """What a run of the model is expected to take; None where sizes are known at run time only, or there is nothing."""
    if not kernels or any(kernel.get("bound") is None for kernel in kernels):
        return None
    seconds = sum(kernel["calls"] * _seconds(kernel) for kernel in kernels)
    least = sum(kernel["calls"] * _roofline(kernel["bound"]) for kernel in kernels)
    share = f"{_share(least, seconds)} of the roofline ({least * 1e6:,.0f} us)"
    return f"estimate: {seconds * 1e6:,.0f} us a run, {share}; by the machine's figures, nothing was measured"


def _figures(kernel: Kernel) -> list[str]:
    known = [str(kernel.get("function", kernel["kernel"])), kernel["point"]]
    demand, bound = kernel.get("demand"), kernel.get("bound")
    if demand is None or bound is None:
        return [*known, str(kernel.get("calls", "")), "", "", f"{kernel['estimate'] * 1e6:.1f}", "", ""]
    moved = demand["weight_bytes"] + demand["activation_bytes"]
    seconds, roofline = _seconds(kernel), _roofline(bound)
    return [
        *known, str(kernel["calls"]), f"{demand['multiply_adds'] / 1e9:.3f}", f"{moved / 1e6:.2f}",
        f"{seconds * 1e6:.1f}", f"{roofline * 1e6:.1f}", _share(roofline, seconds),
    ]  # fmt: skip


def _seconds(kernel: Kernel) -> float:
    """The kernel's own estimate, which takes its weights to be where the region's tensors fit: they may be further."""
    return float(max(kernel["estimate"], kernel["bound"]["memory_seconds"]))


def _roofline(bound: Mapping[str, float]) -> float:
    return max(bound["compute_seconds"], bound["memory_seconds"])


def _share(roofline: float, seconds: float) -> str:
    return f"{roofline / seconds:.0%}" if seconds > 0 else "-"


def _resources(used: Mapping[str, Any]) -> list[str]:
    matrix = used.get("matrix_instructions")
    numbers = [used[name] for name in ("threads", "registers", "spilled_bytes", "stack_bytes", "shared_bytes")]
    return [
        used["kernel"], *map(str, numbers), str(used["resident_blocks"]), f"{used['occupancy']:.0%}",
        "" if matrix is None else str(matrix),
    ]  # fmt: skip
