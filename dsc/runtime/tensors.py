"""The tensors of an artifact's weights, where they lie in the file or expanded in memory of their own."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from dsc.elements import stored
from dsc.errors import ArtifactError
from dsc.host import usable_cores
from dsc.runtime.compression import expand
from dsc.runtime.schema import MalformedError
from dsc.runtime.weights import ALIGNMENT, Entry, parse

T = TypeVar("T")


@dataclass(frozen=True)
class Tensors:
    """arrays: as kernels see their memory, in the order that was asked for. memory: of those that were expanded."""

    arrays: list[np.ndarray]
    memory: np.ndarray


def read_tensors(content: np.ndarray, names: Sequence[str], source: str) -> Tensors:
    """The tensors of a file of weights (its bytes). Those that are not compressed are read when they are used first.

    Raises `ArtifactError` for a name that is missing, and for contents that are damaged.
    """
    entries, start = parse(content.data, source)
    for name in names:
        if name not in entries:
            raise ArtifactError(f"{source}: weight {name[:80]} is missing; compile the model again")
    memory = _room([entries[name] for name in names], source)
    arrays, parts, position = [], [], 0
    for name in names:
        entry = entries[name]
        raw = content[start + entry.offset :][: entry.size]
        if entry.compressed:
            to = memory[position : position + entry.expanded_size]
            position += _aligned(entry.expanded_size)
            parts.append(_Expansion(raw, to, entry, name, source))
            raw = to
        arrays.append(stored(raw.view(entry.dtype).reshape(entry.shape)))
    _run(parts)
    return Tensors(arrays, memory)


def read_tensor(content: memoryview, start: int, entry: Entry, source: str, name: str) -> np.ndarray:
    """One tensor of a file of weights, of its own type. Raises `ArtifactError` where it is damaged."""
    raw = np.frombuffer(content, np.uint8)[start + entry.offset :][: entry.size]
    if entry.compressed:
        to = _room([entry], source)[: entry.expanded_size]
        _run([_Expansion(raw, to, entry, name, source)])
        raw = to
    return raw.view(entry.dtype).reshape(entry.shape)


def is_compressed(entries: Mapping[str, Entry]) -> bool:
    """Whether any tensor is."""
    return any(entry.compressed for entry in entries.values())


def _room(entries: Sequence[Entry], source: str) -> np.ndarray:
    """Memory for the compressed ones, aligned as in a file, all in one piece."""
    size = sum(_aligned(entry.expanded_size) for entry in entries if entry.compressed)
    try:
        return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8)
    except (OSError, OverflowError, ValueError) as error:
        raise ArtifactError(
            f"{source}: its weights take {size} bytes, for which there is no memory: {error}"
        ) from error


@dataclass(frozen=True)
class _Expansion:
    """Of one tensor: its bytes in the file, and where it goes."""

    raw: np.ndarray
    to: np.ndarray
    entry: Entry
    name: str
    source: str

    def parts(self) -> list[Callable[[], None]]:
        """What has to run, in any order. All raise `ArtifactError`."""
        found = self._told(lambda: expand(self.raw.data, self.to.view(f"u{self.entry.dtype.itemsize}")))
        return [partial(self._told, part) for part in found]

    def _told(self, part: Callable[[], T]) -> T:
        try:
            return part()
        except MalformedError as error:
            raise ArtifactError(
                f"{self.source}: weight {self.name[:80]} is damaged: {error}; compile the model again"
            ) from None


def _run(expansions: Sequence[_Expansion]) -> None:
    """On all cores."""
    parts = [part for expansion in expansions for part in expansion.parts()]
    if parts:
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(lambda part: part(), parts))


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT
