"""The cache folder: whole files only, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from dsc.errors import UsageError


def cache_dir(cache: str | os.PathLike[str] | None = None) -> Path:
    """`cache`, else the environment variable DSC_CACHE, else the user's cache folder; made when missing."""
    path = Path(cache or os.environ.get("DSC_CACHE") or platformdirs.user_cache_dir("dsc")).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {path} cannot be made ({error.strerror}); set DSC_CACHE to a folder of yours"
        ) from error
    return path


@contextmanager
def made_once(target: Path) -> Iterator[Path | None]:
    """Yield a path to write `target` at, or None when it is there already.

    The path lies in a scratch folder beside `target` and is moved into place when the block ends well, so
    `target` is whole or absent; a lock file keeps a second process waiting instead of working twice. `target`
    may be a file or a folder.
    """
    if target.exists():
        yield None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(target.name + ".lock")):
        if target.exists():
            yield None
            return
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
        try:
            aside = scratch / target.name
            yield aside
            os.replace(aside, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock, which the system drops if this process dies."""
    try:
        handle = path.open("w")
    except OSError as error:
        advice = "set DSC_CACHE to a folder of yours"
        raise UsageError(f"{path} cannot be written ({error.strerror}); {advice}") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
