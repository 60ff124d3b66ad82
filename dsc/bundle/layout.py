"""Which files a bundle has, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dsc.bundle import gpu
from dsc.bundle.description import File
from dsc.bundle.runner import BINARIES, runner_sources
from dsc.bundle.runtime import HEADERS, LIBRARIES, LICENCES
from dsc.runtime.hashing import BlockHash
from dsc.runtime.manifest import LIBRARY, MANIFEST, WEIGHTS

DESCRIPTION = "bundle.txt"
README = "README.md"
CHECKED = (LIBRARY, WEIGHTS, *LIBRARIES)
"""Files whose hashes the runner compares before it uses them."""
_EXECUTABLE = (*BINARIES, *LIBRARIES, *gpu.LIBRARIES)
_CHUNK = 4 << 20


def names() -> frozenset[str]:
    """All files that a bundle may have, relative to it."""
    fixed = (DESCRIPTION, README, MANIFEST, *CHECKED, *BINARIES, *HEADERS, *LICENCES)
    return frozenset((*fixed, *runner_sources(), *gpu.LIBRARIES, *gpu.hip_sources()))


def foreign(folder: Path) -> str | None:
    """A file or link in `folder` that is none of a bundle's, relative to it; None where there is none."""
    known = names()
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name not in known and (path.is_symlink() or not path.is_dir()):
            return name
    return None


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by their names relative to `folder`, which has none of them."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if name in _EXECUTABLE:
            path.chmod(path.stat().st_mode | 0o111)


def listed(path: Path) -> File:
    """Name, size and hash of a file."""
    digest, size = BlockHash(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return File(path.name, size, digest.hexdigest())
