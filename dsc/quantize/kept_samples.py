"""Calibration data: read once, however much it is; a few of it are kept for what is measured afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dsc.quantize.calibration import Feed

KEPT = 32
"""How many are kept."""


class KeptSamples:
    """Feeds that are passed on, of which the first are kept."""

    def __init__(self, data: Iterable[Feed]) -> None:
        self._data = data
        self._kept: list[dict[str, np.ndarray]] = []

    def __iter__(self) -> Iterator[Feed]:
        for feed in self._data:
            if len(self._kept) < KEPT:
                self._kept.append({name: np.array(array) for name, array in feed.items()})
            yield feed

    @property
    def kept(self) -> list[dict[str, np.ndarray]]:
        """Those kept, the largest first: sessions that are made for it take the others too."""
        return sorted(self._kept, key=lambda feed: -sum(array.nbytes for array in feed.values()))
