"""What a simulated device saw, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dsc.cli.console import print_table

if TYPE_CHECKING:
    from dsc.check.counted import CountedCall
    from dsc.simulator import Counters


def print_counters(counters: Mapping[str, Counters]) -> None:
    """Print what each kernel did in all its launches: nothing of it is time."""
    columns = ["kernel", "launches", "global MB", "coalesced", "bank conflicts", "tensor-core MACs"]
    rows = [
        [kernel, f"{c.launches:,}", f"{c.global_bytes / 1e6:.2f}", f"{c.coalescing:.0%}", f"{c.bank_conflicts:,}",
         f"{c.matrix_macs:,}"]
        for kernel, c in counters.items()
    ]  # fmt: skip
    print_table(columns, rows, title="simulated")


def print_counted(calls: Sequence[CountedCall]) -> None:
    """Print what a device is expected to take for a call of each function, by these counts."""
    columns = ["function", "L2, us", "memory, us", "shared, us", "multiply, us", "estimate, us", "roofline"]
    rows = [
        [call.function, *map(_us, (call.l2_seconds, call.memory_seconds, call.shared_seconds, call.multiply_seconds)),
         _us(call.seconds), "" if call.share is None else f"{call.share:.0%}"]
        for call in calls
    ]  # fmt: skip
    print_table(columns, rows, title="estimated from what was counted, for one call: nothing was measured")


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.2f}"
