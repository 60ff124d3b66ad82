"""Folders that dsc writes: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsc.errors import UsageError
from dsc.files.destination import ASIDE, aside_prefix
from dsc.files.scratch import scratch
from dsc.files.writing import umask


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path` when the block ends well, in place of a folder that is there.

    When it does not, what was there is unchanged. Whether that may be replaced, the caller has found out. Raises
    UsageError where it cannot be written.
    """
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_dir():
        raise UsageError(f"cannot write {path}: it is a file, expected a folder or nothing")
    try:
        with scratch(place.parent, aside_prefix(place), ASIDE) as aside:
            made = aside / "made"
            made.mkdir()
            yield made
            made.chmod(0o777 & ~umask())
            _replace(place, made, aside / "before")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _replace(place: Path, made: Path, before: Path) -> None:
    """`made` in the place of what was there, which goes to `before`, or stays where that fails."""
    if not place.exists():
        made.rename(place)
        return
    place.rename(before)
    try:
        made.rename(place)
    except OSError:
        before.rename(place)
        raise
