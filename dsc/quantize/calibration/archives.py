"""Samples from npz archives, a row at a time: what is stacked in them need not fit in memory."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from dsc.elements import BY_DTYPE_NAME
from dsc.errors import UsageError
from dsc.runtime import TensorSpec

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class _Stack:
    """Samples of one input, one after the other in memory: `count` arrays of a shape."""

    file: IO[bytes]
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    count: int

    def next(self) -> np.ndarray:
        """The next sample."""
        size = math.prod(self.shape) * self.dtype.itemsize
        data = self.file.read(size)
        if len(data) != size:
            raise ValueError("an array ends before its data does")
        return np.frombuffer(data, self.dtype).reshape(self.shape)


def sample_count(path: Path, specs: Sequence[TensorSpec]) -> int:
    """How many samples an archive holds. Raises UsageError as `read_archive` does."""
    with ExitStack() as stack:
        return _common_count(path, _stacks(path, specs, stack))


def read_archive(path: Path, specs: Sequence[TensorSpec]) -> Iterator[Mapping[str, np.ndarray]]:
    """The samples of an archive that holds an array for each input, under its name.

    An array is a stack of samples where it has one dim more than the input, or is longer than the input in its first
    one; a free first dim is 1 of each sample then. All arrays hold as many. Other arrays, as labels, are not read.
    Raises UsageError where the archive cannot be read, or an input is missing.
    """
    with ExitStack() as stack:
        stacks = _stacks(path, specs, stack)
        for _ in range(_common_count(path, stacks)):
            try:
                yield {name: stack_.next() for name, stack_ in stacks.items()}
            except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                raise _unreadable(path, error) from error


def _stacks(path: Path, specs: Sequence[TensorSpec], stack: ExitStack) -> dict[str, _Stack]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        held = {name.removesuffix(".npy") for name in archive.namelist()}
        if missing := [spec.name for spec in specs if spec.name not in held]:
            raise UsageError(
                f"{path} holds {', '.join(sorted(held)) or 'nothing'}; the model takes {', '.join(missing)} too"
            )
        # A file of its own for each: they are read in turns.
        files = {spec.name: stack.enter_context(archive.open(f"{spec.name}.npy")) for spec in specs}
        return {spec.name: _stack(path, spec, files[spec.name]) for spec in specs}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def _stack(path: Path, spec: TensorSpec, file: IO[bytes]) -> _Stack:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"array {spec.name!r} is of version {version} of the npy format")
    shape, is_fortran, dtype = _HEADERS[version](file)
    if is_fortran and len(shape) > 1:
        raise UsageError(f"{path}: {spec.name!r} lies column by column: save numpy.ascontiguousarray of it")
    if dtype.hasobject:
        raise UsageError(f"{path}: {spec.name!r} holds Python's objects, not numbers")
    return _Stack(file, _declared(dtype, spec), *_split(path, spec, shape))


def _split(path: Path, spec: TensorSpec, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The shape of a sample, and how many there are. What fits neither way is one sample, whose check says why."""
    if len(shape) == len(spec.shape) + 1:
        return shape[1:], shape[0]
    if len(shape) != len(spec.shape) or not shape:
        return shape, 1
    first = spec.shape[0]
    length = first if isinstance(first, int) else 1
    if length == 0 or shape[0] <= length:
        return shape, 1
    if shape[0] % length:
        raise UsageError(f"{path}: {spec.name!r} has {shape[0]} rows, and a sample takes {length} of them")
    return (length, *shape[1:]), shape[0] // length


def _common_count(path: Path, stacks: Mapping[str, _Stack]) -> int:
    counts = {name: stack.count for name, stack in stacks.items()}
    if len(set(counts.values())) > 1:
        held = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise UsageError(f"{path} holds unequal numbers of samples: {held}")
    return next(iter(counts.values()), 0)


def _declared(dtype: np.dtype[np.generic], spec: TensorSpec) -> np.dtype[np.generic]:
    """The input's own type where numpy's files do not know it: bfloat16 is two bytes of anything there."""
    declared = BY_DTYPE_NAME[spec.dtype]
    return (
        declared.dtype
        if declared.encoding is not None and dtype == np.dtype((np.void, declared.dtype.itemsize))
        else dtype
    )


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} cannot be read as an npz archive: {error}")
