"""The artifact as a file: a ZIP of stored members whose bytes can be mapped.

``manifest.json`` is written last, so it can hold the offset, size and hash of the others. The archive's comment says
where the manifest lies, and holds the hash of every byte that is in neither the library nor the weights: a reader
needs no ZIP directory, and no byte can change unnoticed. Timestamps are fixed: equal contents are equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from dsc.errors import ArtifactError
from dsc.files import writing
from dsc.runtime.hashing import BlockHash, hash_member
from dsc.runtime.manifest import FORMAT, LIBRARY, MANIFEST, WEIGHTS, Manifest, Member
from dsc.runtime.weights import Weight, chunks, total_size

MAX_MANIFEST = 16 << 20
"""Bytes of a manifest: a hundred times that of BERT-base."""
_ALIGNMENT = 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER = 30  # bytes before the name; PKWARE APPNOTE 4.3.7
_ZIP64_EXTRA = 20
_ALIGNMENT_EXTRA = 0xD935  # the id that zipalign uses for padding
_DIRECTORY = 64 << 10
"""More than the ZIP's own records and the padding take."""

_DIGEST = 64  # hexadecimal digits, the last bytes of the file
_COMMENT = "dsc {format} manifest {member.offset}+{member.size} sha256 {digest}"
_TAIL = re.compile(
    rb"PK\x05\x06.{18}dsc (?P<format>\d{1,9}) manifest (?P<offset>\d{1,15})\+(?P<size>\d{1,15}) "
    rb"sha256 (?P<digest>[0-9a-f]{64})\Z",
    re.DOTALL,
)
_FORMAT_1 = re.compile(rb"dsc sha256 \w{64}\Z")
_TAIL_SIZE = 256


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
    with writing(path) as file:
        return write_stream(file, manifest, library, weights, progress)


def write_stream(
    file: BinaryIO,
    manifest: Manifest,
    library: bytes,
    weights: Sequence[Weight],
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write the artifact to an empty file that is open for reading and writing."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        members = {
            LIBRARY: _add(archive, LIBRARY, len(library), [library], progress),
            WEIGHTS: _add(archive, WEIGHTS, total_size(weights), chunks(weights), progress),
        }
        manifest = manifest.with_members(members)
        text = manifest.to_json()
        if len(text) > MAX_MANIFEST:
            raise ArtifactError(f"{manifest.name} has {len(text)} bytes of manifest, more than {MAX_MANIFEST}")
        place = _add(archive, MANIFEST, len(text), [text], progress)
        archive.comment = _COMMENT.format(format=FORMAT, member=place, digest="0" * _DIGEST).encode()
    digest = _hash_rest(file, manifest)
    file.seek(-_DIGEST, os.SEEK_END)
    file.write(digest.encode())
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
    digest = BlockHash()
    with archive.open(info, "w", force_zip64=large) as member:
        offset = archive.fp.tell()
        for piece in pieces:
            member.write(piece)
            digest.update(piece)
            if progress is not None:
                progress(archive.fp.tell())
    return Member(offset, size, digest.hexdigest())


def read_manifest(file: BinaryIO, source: str) -> Manifest:
    """The manifest of an open artifact, once all but the library and the weights is known to be as dsc wrote it.

    Raises `ArtifactError`, naming `source`, if this is not a whole artifact.
    """
    end = file.seek(0, os.SEEK_END)
    tail = _read(file, max(0, end - _TAIL_SIZE), min(end, _TAIL_SIZE))
    found = _TAIL.search(tail)
    if found is None:
        raise ArtifactError(_not_whole(file, tail, source))
    if int(found["format"]) != FORMAT:
        raise ArtifactError(_other_format(source, int(found["format"])))
    offset, size = int(found["offset"]), int(found["size"])
    if size > MAX_MANIFEST or offset + size > end:
        raise ArtifactError(_changed(source, MANIFEST))
    manifest = Manifest.from_json(_read(file, offset, size), source)
    inside = [(member.offset, member.offset + member.size) for member in manifest.members.values()]
    (_, first_end), (second, second_end) = sorted(inside)
    outside = end - sum(stop - start for start, stop in inside)
    if first_end > second or second_end > offset or outside > size + _DIRECTORY:
        raise ArtifactError(f"{source}: its members do not lie in the file as dsc lays them; compile the model again")
    if _hash_rest(file, manifest) != found["digest"].decode():
        raise ArtifactError(_changed(source, MANIFEST))
    return manifest


def check_member(content: memoryview, manifest: Manifest, name: str, source: str, threads: int) -> None:
    """Compare the hash of a whole member, on so many threads. Raises `ArtifactError` if it differs."""
    if hash_member(content, threads) != manifest.members[name].sha256:
        raise ArtifactError(_changed(source, name))


def _hash_rest(file: BinaryIO, manifest: Manifest) -> str:
    """The hash of what is outside the members of the manifest, and before the digest itself."""
    digest, position = hashlib.sha256(), 0
    for member in sorted(manifest.members.values(), key=lambda member: member.offset):
        digest.update(_read(file, position, member.offset - position))
        position = member.offset + member.size
    digest.update(_read(file, position, file.seek(0, os.SEEK_END) - _DIGEST - position))
    return digest.hexdigest()


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _changed(source: str, name: str) -> str:
    return f"{source}: {name} was changed after it was written (its hash differs); compile the model again"


def _other_format(source: str, found: int) -> str:
    return (
        f"{source} has artifact format {found}, this dsc reads format {FORMAT}; compile the model again with this dsc"
    )


def _not_whole(file: BinaryIO, tail: bytes, source: str) -> str:
    """What a file is that does not end as an artifact does."""
    if _FORMAT_1.search(tail):
        return _other_format(source, 1)
    name = Path(source).name
    if name.endswith(".dsc"):
        advice = f"make it again with `dsc compile MODEL.onnx -o {name}`"
    else:
        advice = f"if it is an ONNX model, compile it first: `dsc compile {name} -o {Path(name).stem}.dsc`"
    if zipfile.is_zipfile(file):
        return f"{source} is a ZIP file but not one that dsc wrote; {advice}"
    return f"{source} is not a whole model.dsc file: it was cut short, changed or is another; {advice}"
