"""What a simulated device saw, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dsc.cli.console import print_table

if TYPE_CHECKING:
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
