"""The artifact as a file: a ZIP of stored members whose bytes can be mapped, written aside and then renamed.

``manifest.json`` is written last, so it can hold the offset, size and hash of the others; the archive's
comment holds the manifest's own hash. Timestamps are fixed: equal contents are equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dsc.errors import ArtifactError, UsageError
from dsc.runtime.manifest import Manifest, Member
from dsc.runtime.weights import Weight, chunks, total_size

MANIFEST, LIBRARY, WEIGHTS = "manifest.json", "lib.so", "weights.safetensors"
_ALIGNMENT = 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)
_COMMENT = b"dsc sha256 "
_LOCAL_HEADER = 30  # bytes before the name; PKWARE APPNOTE 4.3.7
_ZIP64_EXTRA = 20
_ALIGNMENT_EXTRA = 0xD935  # the id that zipalign uses for padding
_CHUNK = 1 << 20


def write_artifact(
    path: Path,
    manifest: Manifest,
    library: bytes,
    weights: Sequence[Weight],
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write `path` in one piece or not at all; weights stream through one at a time.

    `progress` is told the bytes written so far. Returns the manifest with its members filled in.
    Raises `UsageError` where the file cannot be written.
    """
    with replacing(path) as file:
        return write_stream(file, manifest, library, weights, progress)


def write_stream(
    file: BinaryIO,
    manifest: Manifest,
    library: bytes,
    weights: Sequence[Weight],
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write the artifact to an open, seekable file at its start."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        members = {
            LIBRARY: _add(archive, LIBRARY, len(library), [library], progress),
            WEIGHTS: _add(archive, WEIGHTS, total_size(weights), chunks(weights), progress),
        }
        manifest = manifest.with_members(members)
        text = manifest.to_json()
        _add(archive, MANIFEST, len(text), [text], progress)
        archive.comment = _COMMENT + hashlib.sha256(text).hexdigest().encode()
    return manifest


def _add(
    archive: zipfile.ZipFile,
    name: str,
    size: int,
    pieces: Iterable[bytes | memoryview],
    progress: Callable[[int], None] | None,
) -> Member:
    """Append a member whose data starts on a page boundary."""
    assert archive.fp is not None
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    info.file_size = size
    large = size >= zipfile.ZIP64_LIMIT
    before_data = archive.fp.tell() + _LOCAL_HEADER + len(name) + (_ZIP64_EXTRA if large else 0) + 4
    padding = -before_data % _ALIGNMENT
    info.extra = _ALIGNMENT_EXTRA.to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
    digest = hashlib.sha256()
    with archive.open(info, "w", force_zip64=large) as member:
        offset = archive.fp.tell()
        for piece in pieces:
            member.write(piece)
            digest.update(piece)
            if progress is not None:
                progress(archive.fp.tell())
    return Member(offset, size, digest.hexdigest())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """An open file that becomes `path` when the block ends well, and is gone when it does not."""
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a directory")
    aside: str | None = None
    try:
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "w+b") as file:
            yield file
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
        aside = None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if aside is not None:
            Path(aside).unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, read from the kernel because asking the C library means setting it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def read_manifest(file: BinaryIO, source: str) -> Manifest:
    """The manifest of an open artifact, after checking the archive's structure and the manifest's hash.

    Raises `ArtifactError`, naming `source`, if this is not a whole artifact as dsc wrote it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = sorted(archive.namelist())
            if names != sorted((MANIFEST, LIBRARY, WEIGHTS)):
                raise ArtifactError(
                    f"{source} is a ZIP file but not one that dsc wrote (it holds {', '.join(names[:5])})"
                )
            text = archive.read(MANIFEST)
            comment = archive.comment
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise ArtifactError(
            f"{source} is not a whole model.dsc file ({error}): it was cut short, changed or is another; "
            f"make it with `dsc compile model.onnx -o {Path(source).name}`"
        ) from None
    if comment != _COMMENT + hashlib.sha256(text).hexdigest().encode():
        raise ArtifactError(f"{source} was changed after it was written (manifest hash); compile the model again")
    manifest = Manifest.from_json(text, source)
    _check_bounds(file, manifest, source)
    return manifest


def _check_bounds(file: BinaryIO, manifest: Manifest, source: str) -> None:
    end = file.seek(0, os.SEEK_END)
    for name in (LIBRARY, WEIGHTS):
        member = manifest.members.get(name)
        if member is None or member.offset < 0 or member.size < 0 or member.offset + member.size > end:
            raise ArtifactError(f"{source}: {name} does not lie inside the file; compile the model again")


def check_hash(file: BinaryIO, manifest: Manifest, name: str, source: str) -> None:
    """Read a whole member and compare its hash. Raises `ArtifactError` if it differs."""
    member = manifest.members[name]
    digest = hashlib.sha256()
    file.seek(member.offset)
    left = member.size
    while left and (piece := file.read(min(left, _CHUNK))):
        digest.update(piece)
        left -= len(piece)
    if digest.hexdigest() != member.sha256:
        raise ArtifactError(
            f"{source}: {name} was changed after it was written (its hash differs); compile the model again"
        )
