"""Weights that are compressed before they are written: sizes have to be known when a file begins."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from dsc.files import scratch_file
from dsc.host import usable_cores
from dsc.runtime.compression import compress
from dsc.runtime.weights import Compressed, Weight

_SMALLEST = 1 << 10
"""Bytes of a tensor that is compressed: a smaller one takes its place in the table, which grows by it."""
_WORTH = 0.95
"""Of its bytes, what a tensor may still take. More is not worth the memory of its own that it is expanded to."""


def compressed(weights: Sequence[Weight], progress: Callable[[int, int], None]) -> tuple[Weight, ...]:
    """The same weights, those that become smaller by it compressed: in an unnamed temporary file, until they are read.

    progress: told how many are done, and of how many. Weights are loaded one at a time. Raises `UsageError` where the
    temporary folder has no room.
    """
    places: dict[int, tuple[int, int]] = {}

    def write(file: BinaryIO) -> None:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for index, weight in enumerate(weights):
                progress(index, len(weights))
                content = compress(np.asarray(weight.load()), pool) if weight.size >= _SMALLEST else None
                if content is not None and len(content) <= _WORTH * weight.size:
                    places[index] = file.tell(), len(content)
                    file.write(content)

    with scratch_file(write) as file:
        if not places:
            return tuple(weights)
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return tuple(
        replace(weight, compressed=_part(view, *places[index])) if index in places else weight
        for index, weight in enumerate(weights)
    )


def _part(view: memoryview, offset: int, size: int) -> Compressed:
    return Compressed(size, lambda: view[offset : offset + size])
