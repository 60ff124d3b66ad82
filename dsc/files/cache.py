"""The cache folder: whole files only, one writer at a time, nothing left of those that were killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from dsc.errors import UsageError
from dsc.files.scratch import scratch

_ADVICE = "set DSC_CACHE to a folder of yours with room in it"


def cache_dir(cache: str | os.PathLike[str] | None = None) -> Path:
    """`cache`, else the environment variable DSC_CACHE, else the user's cache folder; made when missing. Absolute."""
    try:
        path = Path(cache or os.environ.get("DSC_CACHE") or platformdirs.user_cache_dir("dsc")).expanduser().absolute()
    except RuntimeError as error:  # there is no home
        raise UsageError(f"there is no place for a cache ({error}); {_ADVICE}") from error
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the cache folder {path} cannot be made ({error.strerror}); {_ADVICE}") from error
    return path


@contextmanager
def made_once(target: Path) -> Iterator[Path | None]:
    """Yield a path to write `target` at, or None when it is there already.

    The path lies in a scratch folder beside `target` and is moved into place when the block ends well, so
    `target` is whole or absent; a lock file keeps a second process waiting instead of working twice. `target`
    may be a file or a folder. Raises UsageError where the cache cannot be written, or is full.
    """
    if target.exists():
        yield None
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_name(target.name + ".lock")):
            if target.exists():
                yield None
                return
            with scratch(target.parent) as folder:
                aside = folder / target.name
                yield aside
                _move(aside, target)
    except OSError as error:
        raise UsageError(f"{target} cannot be made ({error.strerror or error}); {_ADVICE}") from error


def _move(aside: Path, target: Path) -> None:
    """Into place; a folder that another host made meanwhile, where locks do not reach it, is as good."""
    try:
        os.replace(aside, target)
    except OSError:
        if not target.is_dir():
            raise


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock, which the system drops if this process dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
