"""The points of a product that skips inputs of 0."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.targets.cpu.gemm.tiling import Tiling


@dataclass(frozen=True)
class InputPanels:
    """A point of the design space: panels, and how their sums are added to."""

    tiling: Tiling
    """Its rows are all there are, its columns those of a panel."""
    inputs: int
    """That are multiplied at once."""
    vectors: int
    """Of a row of sums that are in registers meanwhile; they divide the panel."""
    asks_ahead: bool
    """Whether weights are asked for a group of inputs before they are multiplied: pays where they come from memory."""
