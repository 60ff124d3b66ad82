"""Reading weights out of pickles without running what is in them, and without torch."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy._core.multiarray import _reconstruct

_TORCH_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER of the legacy format


class _Restricted(pickle.Unpickler):
    """Resolves the given globals only; any other is refused before it can be called."""

    def __init__(self, stream: BinaryIO, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(stream)
        self._allowed = allowed
        self.persistent: Callable[[Any], Any] | None = None

    def find_class(self, module: str, name: str) -> Any:
        """A global, if it is on the list."""
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which weights do not need")
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """A torch storage."""
        if self.persistent is None:
            raise pickle.UnpicklingError("the pickle refers to data outside itself")
        return self.persistent(pid)


def numpy_pickle(path: Path) -> dict[str, Any]:
    """A pickled dict of plain containers and numpy arrays."""
    allowed = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }
    with path.open("rb") as stream:
        found = _Restricted(stream, allowed).load()
    if not isinstance(found, dict):
        raise pickle.UnpicklingError(f"{path.name} holds a {type(found).__name__}, expected a dict")
    return found


@dataclass(frozen=True)
class _View:
    """A tensor before its storage is read: strides and offset count elements, as torch's do."""

    storage: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storages: Mapping[str, np.ndarray]) -> np.ndarray:
        storage = storages[self.storage]
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        if min((self.offset, *self.strides)) < 0 or last >= storage.size:
            raise pickle.UnpicklingError("a tensor reaches outside its storage")
        steps = [step * storage.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps, writeable=False)
        return np.ascontiguousarray(view)


def torch_pickle(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict that torch saved in its legacy format (before 1.6's ZIP files).

    The file is five pickles (magic number, protocol version, system facts, state dict, storage keys), then
    for each key the number of elements (int64) and the elements. A tensor is a view of a storage.
    """
    with path.open("rb") as stream:
        if _Restricted(stream, {}).load() != _TORCH_MAGIC:
            raise pickle.UnpicklingError(f"{path.name} is not a checkpoint in torch's legacy format")
        for _ in ("protocol version", "system facts"):
            _Restricted(stream, {}).load()
        reader = _Restricted(stream, _torch_globals())
        reader.persistent = lambda pid: (pid[2], pid[1])
        views = reader.load()
        dtypes = {view.storage: view.dtype for view in views.values()}
        storages = {}
        for key in _Restricted(stream, {}).load():
            count = int(np.frombuffer(stream.read(8), "<i8")[0])
            storages[key] = np.frombuffer(stream.read(count * dtypes[key].itemsize), dtypes[key], count)
    return {name: view.of(storages) for name, view in views.items()}


def _torch_globals() -> dict[tuple[str, str], Any]:
    def rebuild(storage: tuple[str, np.dtype[Any]], offset: int, shape: Any, strides: Any, *_: Any) -> _View:
        return _View(*storage, offset, tuple(shape), tuple(strides))

    dtypes = {("torch", name): dtype for name, dtype in _TORCH_DTYPES.items()}
    return {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild,
        **dtypes,
    }
