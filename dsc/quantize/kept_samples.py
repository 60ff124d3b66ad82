"""Calibration data: read once, however much it is; a few of it are kept for what is measured on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from dsc.quantize.calibration import Feed

KEPT = 32
"""How many are kept."""


class KeptSamples:
    """Feeds that are passed on, of which the first are read ahead and kept."""

    def __init__(self, data: Iterable[Feed]) -> None:
        self._rest = iter(data)
        self._first: list[dict[str, np.ndarray]] | None = None

    def __iter__(self) -> Iterator[Feed]:
        yield from self._read_ahead()
        yield from self._rest

    @property
    def first(self) -> list[dict[str, np.ndarray]]:
        """Those kept, as they came: errors count them so."""
        return list(self._read_ahead())

    @property
    def kept(self) -> list[dict[str, np.ndarray]]:
        """Those kept, the largest first: sessions that are made for it take the others too."""
        return sorted(self._read_ahead(), key=lambda feed: -sum(array.nbytes for array in feed.values()))

    def _read_ahead(self) -> list[dict[str, np.ndarray]]:
        if self._first is None:
            self._first = [{name: np.array(array) for name, array in feed.items()} for feed in islice(self._rest, KEPT)]
        return self._first
