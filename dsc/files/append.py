"""Adding lines to a file that several processes add to."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


def append(path: Path, lines: bytes) -> None:
    """Append whole lines, all or none, in one write under a lock; an unfinished last line is ended first.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        if os.write(handle, lines) != len(lines):
            os.ftruncate(handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(handle)
