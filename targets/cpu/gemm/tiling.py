"""The points of a matrix product's design space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tiling:
    """A point of the design space: the register tile, and what the tasks are."""

    rows: int
    vectors: int
    lanes: int
    axis: str
    """What a task is: ``columns``: `strip` panels; ``rows``: `block` row tiles; ``both``: those of such panels; or the
    whole, ``none``."""
    block: int = 1
    """Row tiles in one task, where they are divided."""
    depth: int = 1
    """Steps whose elements of `a` are loaded together, and multiplied from their lanes."""
    strip: int = 1
    """Panels in one task, where they are divided."""
    stacked: int = 1
    """Rows that one instruction multiplies."""

    @property
    def by_rows(self) -> bool:
        """Whether row tiles are divided between tasks."""
        return self.axis in ("rows", "both")

    @property
    def by_columns(self) -> bool:
        """Whether panels are divided between tasks."""
        return self.axis in ("columns", "both")

    @property
    def columns(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes
