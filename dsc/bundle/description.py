"""bundle.txt: what a runner without a JSON parser needs to know of a bundle.

It says what manifest.json and the table of weights.safetensors say, of which the runner needs the smaller part, in a
form that takes a hundred lines of C++ to read: one fact a line, words between single spaces. A word that is a text
begins with ``=``; bytes of it that are not printable ASCII, and ``%``, are ``%`` and two hexadecimal digits. The last
line is the hash of all before it. `src/description.h` of the runner reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dsc.bundle.artifact import Artifact
from dsc.elements import stored_dtype
from dsc.runtime.manifest import Check, TensorSpec

FORMAT = 3
"""Version of the form; a runner reads exactly the one that it knows."""
_PLAIN = frozenset(range(0x21, 0x7F)) - {ord("%")}


@dataclass(frozen=True)
class File:
    """A file of the bundle, and its hash by blocks (see `dsc.runtime.hashing`)."""

    name: str
    size: int
    sha256: str


def describe(content: Artifact, files: Sequence[File], runtime: str) -> bytes:
    """The text of bundle.txt. `runtime` names the version of the runtime libraries, for messages."""
    body = "".join(f"{line}\n" for line in _lines(content, files, runtime)).encode()
    return body + f"sha256 {hashlib.sha256(body).hexdigest()}\n".encode()


def _lines(content: Artifact, files: Sequence[File], runtime: str) -> Iterator[str]:
    manifest = content.manifest
    yield f"dsc bundle {FORMAT}"
    yield f"model {_text(manifest.name)}"
    yield f"target {_text(manifest.target)}"
    yield f"arch {_text(content.arch)}"
    if content.gpu is not None:
        yield f"gpu {_text(content.gpu.device)} {_text(content.gpu.arch)}"
    if not manifest.uncaptured:
        yield "captured"
    yield f"runtime {_text(runtime)}"
    yield from (f"feature {_text(feature)}" for feature in content.features)
    yield from (f"file {_text(file.name)} {file.size} {file.sha256}" for file in files)
    yield from (_words("input", *_spec(spec)) for spec in manifest.inputs)
    yield from (_words("output", *_spec(spec)) for spec in manifest.outputs)
    for entry in content.parameters():
        yield _words("parameter", entry.offset, stored_dtype(entry.dtype).name, *entry.shape)
    if manifest.checks.symbols:
        yield _words("symbols", *(number for place in manifest.checks.symbols for number in place))
    yield from (_check("sizes", check) for check in manifest.checks.sizes)
    yield from (_check("indices", check) for check in manifest.checks.indices)


def _spec(spec: TensorSpec) -> Iterator[object]:
    """Name, type, dims: numbers, names, and -1 for those that have neither."""
    yield _text(spec.name)
    yield spec.dtype
    for dim in spec.shape:
        yield _text(dim) if isinstance(dim, str) else -1 if dim is None else dim


def _check(kind: str, check: Check) -> str:
    return _words(kind, _text(check.text), *(number for place in check.places for number in place))


def _words(*words: object) -> str:
    return " ".join(map(str, words))


def _text(text: str) -> str:
    return "=" + "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in text.encode())
