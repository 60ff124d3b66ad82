"""Names that belong to a living process: a later process removes what its owner did not live to remove.

The owner holds a lock (flock) on what it made, which the kernel drops when it dies, however it dies. Names carry the
kernel's boot and the host, since locks may say nothing of a process on another machine that shares the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
from functools import cache
from pathlib import Path

_NAME = re.compile(r"(?:\..*\.)?dsc-([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{8}(?:\.part)?", re.DOTALL)
_collected: set[Path] = set()


def make_owned(folder: Path, before: str = "", after: str = "", *, is_folder: bool) -> tuple[Path, int]:
    """Make an empty file (or folder) in `folder` that is ours until the descriptor is closed. Raises OSError.

    The first time in a folder, what dead owners left there is removed.
    """
    collect(folder)
    while True:
        path = folder / f"{before}dsc-{_boot()}-{_host()}-{secrets.token_hex(4)}{after}"
        try:
            handle = _make(path, is_folder)
            if _is_locked(handle, path):
                return path, handle
            os.close(handle)
        except FileExistsError:
            continue
        except FileNotFoundError:  # a collector was faster, unless it is the folder that is not there
            if not folder.is_dir():
                raise


def remove(path: Path) -> None:
    """Remove an owned file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def collect(folder: Path) -> None:
    """Remove what is this user's in `folder` and has no living owner; once in a process."""
    if folder in _collected:
        return
    _collected.add(folder)
    try:
        found = [Path(entry.path) for entry in os.scandir(folder) if _is_from_here(entry.name)]
    except OSError:
        return  # whoever makes something here is told
    for path in found:
        _remove_if_dead(path)


def _make(path: Path, is_folder: bool) -> int:
    if is_folder:
        path.mkdir(mode=0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)


def _is_locked(handle: int, path: Path) -> bool:
    """Lock what we just made; False where a collector was faster."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: there, nothing is ever collected
    return _is_at(handle, path)


def _is_at(handle: int, path: Path) -> bool:
    try:
        there, ours = path.lstat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, ours)


def _remove_if_dead(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # gone meanwhile, or another user's
    try:
        facts = os.fstat(handle)
        if facts.st_uid == os.geteuid() and (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                remove(path)
    except OSError:
        return  # its owner lives, or the folder is read-only
    finally:
        os.close(handle)


def _is_from_here(name: str) -> bool:
    """Whether a lock tells if the owner lives: it ran on this boot of the kernel, or on this host before."""
    found = _NAME.fullmatch(name)
    return found is not None and (found[1] == _boot() or found[2] == _host())


@cache
def _boot() -> str:
    return _short(_text(Path("/proc/sys/kernel/random/boot_id")))


@cache
def _host() -> str:
    return _short(socket.gethostname() + _text(Path("/etc/machine-id")))


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
