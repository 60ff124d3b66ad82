"""The one way in which dsc writes a file of the user's."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dsc.files.destination import ASIDE, Destination, aside_prefix, destination
from dsc.files.scratch import scratch, scratch_file

_CHUNK = 1 << 20


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """An empty file, open for reading and writing, that becomes `path` when the block ends well.

    When it does not, what was there is unchanged. The file behind a link is replaced, not the link; its permissions
    stay. What goes to a stream (a pipe, a terminal, the file that the shell sent the standard output to) is
    copied there in one go at the end. Raises UsageError where it cannot be written.
    """
    to = destination(path)
    try:
        with _copied(to, to.stream) if to.stream is not None else _renamed(to) as file:
            yield file
    except BrokenPipeError:
        raise  # whoever read the stream has left: no mistake of anybody's
    except OSError as error:
        raise to.failed(error.strerror or str(error)) from error


@contextmanager
def _renamed(to: Destination) -> Iterator[BinaryIO]:
    with scratch(to.place.parent, aside_prefix(to.place), ASIDE, is_folder=False) as aside:
        with aside.open("w+b") as file:
            yield file
        if to.place.exists() and not os.access(to.place, os.W_OK, effective_ids=True):
            raise to.failed("it is not writable")
        aside.chmod(to.place.stat().st_mode & 0o7777 if to.place.exists() else 0o666 & ~umask())
        aside.replace(to.place)


@contextmanager
def _copied(to: Destination, stream: Path | int) -> Iterator[BinaryIO]:
    with scratch_file(lambda file: None) as file:
        yield file
        file.seek(0)
        if sys.stdout is not None:
            sys.stdout.flush()
        with open(os.dup(stream) if isinstance(stream, int) else stream, "wb", buffering=0) as output:
            shutil.copyfileobj(file, output, _CHUNK)


def umask() -> int:
    """The process's umask, read from the kernel because asking the C library means setting it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
