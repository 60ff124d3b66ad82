"""Temporary files and folders, gone when their user is: at once, or in the next run if it was killed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dsc.errors import UsageError
from dsc.files.owned import collect, make_owned, remove

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TROUBLE = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
_ROOM = 64 << 10
"""Bytes that count as none: little more than one object file takes."""
_living: set[Path] = set()


@contextmanager
def scratch(folder: Path, before: str = "", after: str = "", *, is_folder: bool = True) -> Iterator[Path]:
    """A file or folder of ours in `folder`, removed when the block ends unless it was moved. Raises OSError."""
    path, handle = make_owned(folder, before, after, is_folder=is_folder)
    _living.add(path)
    try:
        yield path
    finally:
        remove(path)
        os.close(handle)
        _living.discard(path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder in the temporary folder. Raises UsageError where that is full or cannot be written."""
    with _told() as folder, scratch(folder) as path:
        yield path


def scratch_file(write: Callable[[BinaryIO], object]) -> BinaryIO:
    """An open temporary file without a name, filled by `write`. Raises UsageError where there is no room."""
    with _told() as folder:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller's
        try:
            write(file)
            file.flush()
        except BaseException:
            file.close()
            raise
        return file


def collect_temporary() -> None:
    """Remove what killed processes left in the temporary folder."""
    try:
        collect(Path(tempfile.gettempdir()))
    except FileNotFoundError:
        return  # there is none, as whoever needs one is told


def discard_all() -> None:
    """Remove all scratch now: for a process that ends without unwinding."""
    for path in list(_living):
        remove(path)


def temporary_trouble(reason: str = "") -> UsageError | None:
    """What is wrong with the temporary folder, for programs that fail there: `reason` tells, or what is free."""
    folder = tempfile.gettempdir()
    facts = os.statvfs(folder)
    is_full = facts.f_bavail * facts.f_frsize < _ROOM or (facts.f_files > 0 and facts.f_favail == 0)
    if is_full or any(os.strerror(number) in reason for number in _FULL):
        return _cannot_be_written(folder, os.strerror(errno.ENOSPC))
    return None


def _cannot_be_written(folder: str, reason: object) -> UsageError:
    return UsageError(f"the temporary folder {folder} cannot be written: {reason}; make room, or set TMPDIR to another")


@contextmanager
def _told() -> Iterator[Path]:
    """The temporary folder, for a block that writes there."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError(f"there is no temporary folder: {error.strerror}; set TMPDIR to one") from None
    try:
        yield Path(folder)
    except OSError as error:
        if error.errno in _TROUBLE:
            raise _cannot_be_written(folder, error.strerror or error) from error
        raise
