"""What became of one export."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What became of one export."""

    status: str
    """``equal``; ``refused``, ``error``, ``differs``: dsc's; ``export``, ``onnxruntime``: it did not come to dsc."""
    detail: str = ""
    seconds: float = 0.0
    """Of compiling."""
