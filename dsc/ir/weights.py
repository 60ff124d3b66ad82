"""WeightStore: the data of `dsc.weight` ops. Entries are views (of files, of the model's bytes) until someone
reads them."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from dsc.errors import DscError, UnsupportedModelError


@dataclass
class _Entry:
    """One weight: how to get its array (kept once got), and its content hash (once asked for)."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    array: np.ndarray | None = None
    digest: str | None = None


@dataclass
class WeightStore:
    """Named, read-only arrays. Shared by clones of a graph: entries are added, never changed in place."""

    _entries: dict[str, _Entry] = field(default_factory=dict)
    _alike: dict[tuple[np.dtype[np.generic], tuple[int, ...]], list[str]] = field(default_factory=dict)
    _maps: dict[Path, np.ndarray] = field(default_factory=dict)

    def add(self, array: np.ndarray, name: str = "weight") -> str:
        """Add an array (not copied; made read-only) and return its name.

        When the same content is there already, its name is returned. `name` is a wish: a suffix makes it
        unique.
        """
        array = np.asarray(array)
        if (found := self.find(array)) is not None:
            return found
        view = array.view()
        view.flags.writeable = False
        return self._insert(name, _Entry(view.dtype, view.shape, lambda: view, view))

    def put(self, name: str, dtype: DTypeLike, shape: tuple[int, ...], load: Callable[[], np.ndarray]) -> str:
        """Add an entry whose array `load` gives when it is first read. Nothing is read or compared now."""
        return self._insert(name, _Entry(np.dtype(dtype), tuple(shape), load))

    def map(self, name: str, path: Path, dtype: DTypeLike, shape: tuple[int, ...], offset: int = 0) -> str:
        """Add an entry that is a part of a file, mapped into memory when first read.

        path: the file; offset: where the data starts, in bytes, of any alignment.
        Raises UnsupportedModelError when the file is too short.
        """
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        if offset < 0 or offset + count * dtype.itemsize > path.stat().st_size:
            need = f"bytes {offset} to {offset + count * dtype.itemsize}"
            raise UnsupportedModelError(f"weight {name} needs {need} of {path}, which has {path.stat().st_size}")

        def load() -> np.ndarray:
            return np.frombuffer(self._mapped(path), dtype, count, offset).reshape(shape)

        return self.put(name, dtype, shape, load)

    def get(self, name: str) -> np.ndarray:
        """The array of a weight: a read-only view. Raises DscError when there is none of that name."""
        entry = self._entry(name)
        if entry.array is None:
            array = entry.load()
            if array.dtype != entry.dtype or array.shape != entry.shape:
                found, said = f"{array.dtype}{list(array.shape)}", f"{entry.dtype}{list(entry.shape)}"
                raise UnsupportedModelError(f"weight {name} is {found}, but was declared as {said}")
            view = array.view()
            view.flags.writeable = False
            entry.array = view
        return entry.array

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """Its dtype, without reading it."""
        return self._entry(name).dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape, without reading it."""
        return self._entry(name).shape

    def hash(self, name: str) -> str:
        """Hex blake2b of dtype, shape and content, computed once."""
        entry = self._entry(name)
        if entry.digest is None:
            entry.digest = content_hash(self.get(name))
        return entry.digest

    def find(self, array: np.ndarray) -> str | None:
        """The name of an entry with the same dtype, shape and content, if there is one."""
        alike = self._alike.get((array.dtype, array.shape))
        if not alike:
            return None
        digest = content_hash(array)
        return next((n for n in alike if self.hash(n) == digest), None)

    def nbytes(self, name: str) -> int:
        """Its size in bytes."""
        entry = self._entry(name)
        return int(np.prod(entry.shape, dtype=np.int64)) * entry.dtype.itemsize

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise DscError(f"the weight store has no weight {name!r} (it has {len(self)} weights)")
        return self._entries[name]

    def _insert(self, name: str, entry: _Entry) -> str:
        name = self._unique(name)
        self._entries[name] = entry
        self._alike.setdefault((entry.dtype, entry.shape), []).append(name)
        return name

    def _unique(self, name: str) -> str:
        unique, n = name, 0
        while unique in self._entries:
            n += 1
            unique = f"{name}.{n}"
        return unique

    def _mapped(self, path: Path) -> np.ndarray:
        if path not in self._maps:
            with path.open("rb") as file:
                self._maps[path] = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        return self._maps[path]


def content_hash(array: np.ndarray) -> str:
    """Hex blake2b of an array's dtype, shape and content."""
    digest = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=20)
    if array.dtype == np.object_:
        digest.update(repr(array.tolist()).encode())
    else:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
