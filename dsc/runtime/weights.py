"""weights.safetensors: laid out so that every tensor can be used where it is mapped.

The format (https://huggingface.co/docs/safetensors) allows no holes between tensors, so the gaps that 64-byte
alignment leaves are tensors themselves, named ``.pad.N``.

Types that numpy does not have itself (bfloat16, 8-bit floats, 4-bit integers, ...) are in the file as kernels see their
memory, one element in one or two bytes (U8, U16), which every reader takes; what they are stands in the header's
``__metadata__``, by the name of the tensor. (The format has names for some of them, but no two bytes of F4 are two
elements of ours, and readers by numpy refuse all.)

Tensors that were compressed (`dsc.runtime.compression`) are bytes there (U8, one dim), and ``__metadata__`` says of
which type and shape they are: ``zstd TYPE DIM DIM``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dsc import elements
from dsc.errors import ArtifactError
from dsc.runtime.schema import MAX_INTEGER, MalformedError, Value, parse_json

ALIGNMENT = 64
_PAD = ".pad."
_METADATA = "__metadata__"
_COMPRESSED = "zstd"
_CODES = {e.dtype.name: e.safetensors for e in elements.ELEMENT_TYPES if e.safetensors is not None}
_ENCODED = {e.dtype.name: e.dtype for e in elements.ELEMENT_TYPES if e.encoding is not None}
ELEMENT_TYPES = frozenset((*_CODES, *_ENCODED))
"""Names of the types that tensors of an artifact may have."""
MAX_HEADER = 16 << 20
"""Bytes of the table of tensors: 100,000 tensors fit in."""
_DTYPES = {code: elements.BY_DTYPE_NAME[name].dtype for name, code in _CODES.items()}


@dataclass(frozen=True)
class Compressed:
    """What is written instead of a tensor's elements."""

    size: int
    """Bytes."""
    read: Callable[[], memoryview]


@dataclass(frozen=True)
class Weight:
    """A tensor to be written. `load` is called when its turn comes, so only one needs to be in memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    compressed: Compressed | None = None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.expanded_size if self.compressed is None else self.compressed.size

    @property
    def expanded_size(self) -> int:
        """Bytes in memory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: `offset` counts from the end of the header."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int
    """Bytes in the file."""
    compressed: bool = False

    @property
    def expanded_size(self) -> int:
        """Bytes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def header(weights: Sequence[Weight]) -> bytes:
    """Length and table: everything before the first tensor's data. Its size is a multiple of 64."""
    described = {weight.name: said for weight in weights if (said := _described(weight))}
    table: dict[str, object] = {_METADATA: described} if described else {}
    position = 0
    for weight in weights:
        end = position + weight.size
        if weight.compressed is None:
            code = _CODES[elements.stored_dtype(np.dtype(weight.dtype)).name]
            table[weight.name] = _entry(code, weight.shape, position, end)
        else:
            table[weight.name] = _entry("U8", (weight.size,), position, end)
        position = end + _gap(end)
        if position > end:
            table[f"{_PAD}{len(table)}"] = _entry("U8", (position - end,), end, position)
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * _gap(8 + len(text))
    return len(text).to_bytes(8, "little") + text


def chunks(weights: Sequence[Weight]) -> Iterator[bytes | memoryview]:
    """The whole file in pieces, one tensor in memory at a time."""
    yield header(weights)
    for weight in weights:
        yield _bytes(weight)
        yield bytes(_gap(weight.size))


def total_size(weights: Sequence[Weight]) -> int:
    """Bytes of the whole file."""
    return len(header(weights)) + sum(weight.size + _gap(weight.size) for weight in weights)


def parse(view: memoryview, source: str) -> tuple[dict[str, Entry], int]:
    """The table of a file and where its data starts. Raises `ArtifactError` if it lies about its sizes."""
    start = 8 + int.from_bytes(view[:8], "little")
    try:
        if not 8 < start <= min(len(view), MAX_HEADER):
            raise MalformedError("its table is cut short")
        table = parse_json(bytes(view[8:start]), "its table").entries()
        described = table.pop(_METADATA).entries() if _METADATA in table else {}
        end = len(view) - start
        return {n: _parsed(e, end, described.get(n)) for n, e in table.items() if not n.startswith(_PAD)}, start
    except MalformedError as error:
        raise ArtifactError(f"{source}: weights.safetensors is damaged: {error}; compile the model again") from None


def _described(weight: Weight) -> str:
    """What the metadata says of a tensor; nothing where its type and shape in the table are its own."""
    if weight.compressed is not None:
        return " ".join([_COMPRESSED, weight.dtype, *map(str, weight.shape)])
    return weight.dtype if weight.dtype in _ENCODED else ""


def _bytes(weight: Weight) -> memoryview:
    if weight.compressed is not None:
        return weight.compressed.read()
    array = np.asarray(weight.load(), order="C")
    if array.dtype != weight.dtype or array.shape != weight.shape:
        found = f"{array.dtype}{list(array.shape)}"
        raise AssertionError(f"{weight.name}: announced {weight.dtype}{list(weight.shape)}, got {found}")
    return array.reshape(-1).view(np.uint8).data


def _gap(size: int) -> int:
    return -size % ALIGNMENT


def _entry(code: str, shape: tuple[int, ...], begin: int, end: int) -> dict[str, object]:
    return {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}


def _parsed(content: Value, end: int, described: Value | None) -> Entry:
    code, dims, offsets = content.fields("dtype", "shape", "data_offsets")
    if code.text() not in _DTYPES or len(offsets.items()) != 2:
        raise MalformedError(f"{content.place} is no tensor")
    begin, stop = (offset.integer(0, end) for offset in offsets.items())
    shape = tuple(dim.integer() for dim in dims.items())
    entry = Entry(_DTYPES[code.text()], shape, begin, stop - begin)
    if entry.size != entry.expanded_size or begin % ALIGNMENT:
        raise MalformedError(f"{content.place} has another size than its shape says")
    if described is None:
        return entry
    if described.text().startswith(f"{_COMPRESSED} ") and entry.dtype == np.uint8:
        return _of_compressed(entry, described)
    return replace(entry, dtype=_encoded(described, entry.dtype))


def _of_compressed(entry: Entry, described: Value) -> Entry:
    """The entry of the tensor that compressed bytes are of."""
    _, name, *dims = described.text().split(" ")
    if name not in ELEMENT_TYPES or not all(re.fullmatch(r"\d{1,10}", dim) for dim in dims):
        raise MalformedError(f"{described.place} is {described.text()[:40]!r}, which is no tensor")
    found = Entry(elements.BY_DTYPE_NAME[name].dtype, tuple(map(int, dims)), entry.offset, entry.size, compressed=True)
    if found.expanded_size > MAX_INTEGER:
        raise MalformedError(f"{described.place} is {described.text()[:40]!r}, which is no size of a tensor")
    return found


def _encoded(name: Value, stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The element type that the metadata names, of which the memory is `stored`."""
    dtype = _ENCODED.get(name.text())
    if dtype is None or elements.stored_dtype(dtype) != stored:
        raise MalformedError(f"{name.place} is {name.text()[:40]!r}, which is not held as {stored}")
    return dtype
