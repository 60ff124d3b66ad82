"""weights.safetensors: laid out so that every tensor can be used where it is mapped.

The format (https://huggingface.co/docs/safetensors) allows no holes between tensors, so the gaps that 64-byte
alignment leaves are tensors themselves, named ``.pad.N``.

Types that numpy does not have itself (bfloat16, 8-bit floats, 4-bit integers, ...) are in the file as kernels see their
memory, one element in one or two bytes (U8, U16), which every reader takes; what they are stands in the header's
``__metadata__``, by the name of the tensor. (The format has names for some of them, but no two bytes of F4 are two
elements of ours, and readers by numpy refuse all.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dsc import elements
from dsc.errors import ArtifactError
from dsc.runtime.schema import MalformedError, Value, parse_json

ALIGNMENT = 64
_PAD = ".pad."
_METADATA = "__metadata__"
_CODES = {e.dtype.name: e.safetensors for e in elements.ELEMENT_TYPES if e.safetensors is not None}
_ENCODED = {e.dtype.name: e.dtype for e in elements.ELEMENT_TYPES if e.encoding is not None}
ELEMENT_TYPES = frozenset((*_CODES, *_ENCODED))
"""Names of the types that tensors of an artifact may have."""
MAX_HEADER = 16 << 20
"""Bytes of the table of tensors: 100,000 tensors fit in."""
_DTYPES = {code: elements.BY_DTYPE_NAME[name].dtype for name, code in _CODES.items()}


@dataclass(frozen=True)
class Weight:
    """A tensor to be written. `load` is called when its turn comes, so only one needs to be in memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: `offset` counts from the end of the header."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int


def header(weights: Sequence[Weight]) -> bytes:
    """Length and table: everything before the first tensor's data. Its size is a multiple of 64."""
    encoded = {weight.name: weight.dtype for weight in weights if weight.dtype in _ENCODED}
    table: dict[str, object] = {_METADATA: encoded} if encoded else {}
    position = 0
    for weight in weights:
        end = position + weight.size
        code = _CODES[elements.stored_dtype(np.dtype(weight.dtype)).name]
        table[weight.name] = _entry(code, weight.shape, position, end)
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
        encoded = table.pop(_METADATA).entries() if _METADATA in table else {}
        end = len(view) - start
        return {n: _parsed(e, end, encoded.get(n)) for n, e in table.items() if not n.startswith(_PAD)}, start
    except MalformedError as error:
        raise ArtifactError(f"{source}: weights.safetensors is damaged: {error}; compile the model again") from None


def _bytes(weight: Weight) -> memoryview:
    array = np.asarray(weight.load(), order="C")
    if array.dtype != weight.dtype or array.shape != weight.shape:
        found = f"{array.dtype}{list(array.shape)}"
        raise AssertionError(f"{weight.name}: announced {weight.dtype}{list(weight.shape)}, got {found}")
    return array.reshape(-1).view(np.uint8).data


def _gap(size: int) -> int:
    return -size % ALIGNMENT


def _entry(code: str, shape: tuple[int, ...], begin: int, end: int) -> dict[str, object]:
    return {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}


def _parsed(content: Value, end: int, encoded: Value | None) -> Entry:
    code, dims, offsets = content.fields("dtype", "shape", "data_offsets")
    if code.text() not in _DTYPES or len(offsets.items()) != 2:
        raise MalformedError(f"{content.place} is no tensor")
    begin, stop = (offset.integer(0, end) for offset in offsets.items())
    dtype = _DTYPES[code.text()]
    if encoded is not None:
        dtype = _encoded(encoded, dtype)
    entry = Entry(dtype, tuple(dim.integer() for dim in dims.items()), begin, stop - begin)
    if entry.size != math.prod(entry.shape) * entry.dtype.itemsize or begin % ALIGNMENT:
        raise MalformedError(f"{content.place} has another size than its shape says")
    return entry


def _encoded(name: Value, stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The element type that the metadata names, of which the memory is `stored`."""
    dtype = _ENCODED.get(name.text())
    if dtype is None or elements.stored_dtype(dtype) != stored:
        raise MalformedError(f"{name.place} is {name.text()[:40]!r}, which is not held as {stored}")
    return dtype
