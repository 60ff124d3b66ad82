"""What the path of an output stands for: a file to be replaced, or a stream to be written to."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from dsc.errors import UsageError

_DESCRIPTOR = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd/(\d+)")
_MAX_LINKS = 40  # as many as Linux follows


@dataclass(frozen=True)
class Destination:
    """An output: `place` is the file behind all links; for a stream, what to open or the descriptor that is open."""

    path: Path
    """As it was named, for messages."""
    place: Path
    stream: Path | int | None = None

    @property
    def is_standard_output(self) -> bool:
        """Whether it goes where `print` does."""
        return self.stream == 1

    def failed(self, reason: object) -> UsageError:
        """That this cannot be written, and why."""
        return UsageError(f"cannot write {self.path}: {reason}")


def destination(path: Path) -> Destination:
    """What `path` stands for. Raises UsageError for what can never be written."""
    path = Path(path)
    if "\0" in str(path):
        raise UsageError(f"cannot write {str(path)!r}: it is no name of a file")
    try:
        found = _behind_links(path)
        descriptor = _DESCRIPTOR.fullmatch(str(found))
        if descriptor is not None and int(descriptor[1]) == os.getpid():
            return Destination(path, found, int(descriptor[2]))
        mode = found.stat().st_mode if found.exists() else stat.S_IFREG
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"cannot write {path}: it is a directory")
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return Destination(path, found, found)
    if not stat.S_ISREG(mode):
        raise UsageError(f"cannot write {path}: it is neither a file nor a stream")
    return Destination(path, found, next((number for number in (1, 2) if _is_open_as(found, number)), None))


def is_stream(path: Path) -> bool:
    """Whether what is written to `path` goes somewhere else than into a file of that name."""
    return destination(path).stream is not None


def check_writable(path: Path) -> None:
    """Raise UsageError now if `path` cannot be written later: before the work, not after it."""
    to = destination(path)
    if isinstance(to.stream, int):
        _check_descriptor(to, to.stream)
    elif to.place.exists() and not os.access(to.place, os.W_OK, effective_ids=True):
        raise to.failed("it is not writable")
    elif to.stream is None:
        _check_folder(to)


def _behind_links(path: Path) -> Path:
    """Follow links by hand: those of /proc lead to names that no file has."""
    for _ in range(_MAX_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if _DESCRIPTOR.fullmatch(str(path)) or not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(f"more than {_MAX_LINKS} links, one behind the other")


def _is_open_as(path: Path, number: int) -> bool:
    """Whether the shell has sent this standard stream to the file: replacing it would lose what is printed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except OSError:
        return False


def _check_descriptor(to: Destination, number: int) -> None:
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError as error:
        raise to.failed(error.strerror or error) from None
    if mode == os.O_RDONLY:
        raise to.failed("it is open for reading only")


def _check_folder(to: Destination) -> None:
    from dsc.files.scratch import scratch

    folder = to.place.parent
    if not folder.is_dir():
        raise to.failed(f"there is no folder {to.path.parent}")
    try:
        with scratch(folder, aside_prefix(to.place), ASIDE, is_folder=False) as probe:
            probe.write_bytes(b"x")
    except OSError as error:
        raise to.failed(f"the folder {to.path.parent} is not writable: {error.strerror}") from None


ASIDE = ".part"
"""How the names of files end that are not finished."""
_LONGEST = 200


def aside_prefix(place: Path) -> str:
    """How the name begins of the unfinished file: hidden, and short enough for any file system."""
    return f".{os.fsdecode(os.fsencode(place.name)[:_LONGEST])}."
