"""Tensors in fewer bytes, without loss: blocks of elements, filtered and then compressed by Zstandard.

A compressed tensor is a table of its blocks (`_BLOCK`), and their frames one after the other. Frames are independent,
so all cores share the work of either direction. What a frame holds, its filter says:

* *shuffled*: the first bytes of all elements, then the second bytes, ... Of floats, signs and exponents are alike and
  mantissas are not: 15 % less of random weights, of which Zstandard alone finds 8.
* *zeros apart*: one bit for each element, whether any of its bits but the highest is set; the highest bits of those
  of which none is (what a mask is multiplied by becomes 0.0 and -0.0); then the others, shuffled. Of a matrix with
  10 % of its elements this leaves 9 to 10 % of the bytes, shuffling alone 17 to 23.

Higher levels than `_LEVEL` gain a hundredth of the size, and take ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import numpy as np
import zstandard

from dsc.runtime.schema import MalformedError

BLOCK = 1 << 20
"""Bytes of a block before; the last one of a tensor may be smaller. Part of the artifact's format."""
_LEVEL = 3
_SHUFFLED, _ZEROS_APART = 0, 1
_BLOCK = np.dtype([("filter", "u1"), ("size", "<u4")])
_SPARSE = 0.2
"""Share of zeros from which they are kept apart."""


def compress(array: np.ndarray, pool: Executor) -> bytes:
    """The elements of an array, in at most a few bytes more than they take. `pool` shares out its blocks."""
    elements = _words(np.ascontiguousarray(array).reshape(-1))
    blocks = list(pool.map(_compressed, _cut(elements)))
    table = np.array([(kind, len(frame)) for kind, frame in blocks], _BLOCK)
    return b"".join([table.tobytes(), *(frame for _, frame in blocks)])


def expand(stored: memoryview, out: np.ndarray) -> list[Callable[[], None]]:
    """What writes what `compress` was given to an array of the same type and size: parts, which may run at once.

    It and its parts raise `MalformedError` where these are no bytes of such an array.
    """
    begin = -(-out.nbytes // BLOCK) * _BLOCK.itemsize
    if len(stored) < begin:
        raise MalformedError("the table of its blocks is cut short")
    table = np.frombuffer(stored[:begin], _BLOCK)
    ends = begin + np.cumsum(table["size"], dtype=np.int64)
    if ends.size and ends[-1] != len(stored):
        raise MalformedError("its blocks have other sizes than their table says")
    frames = [stored[end - size : end] for end, size in zip(ends.tolist(), table["size"].tolist(), strict=True)]
    blocks = zip(table["filter"].tolist(), frames, _cut(_words(out.reshape(-1))), strict=True)
    return [partial(_expand, *block) for block in blocks]


def _words(array: np.ndarray) -> np.ndarray:
    """A flat array as unsigned integers of its elements' size: bits are all that counts."""
    return array.view(f"u{array.itemsize}")


def _cut(elements: np.ndarray) -> list[np.ndarray]:
    count = BLOCK // elements.itemsize
    return [elements[start : start + count] for start in range(0, elements.size, count)]


def _compressed(elements: np.ndarray) -> tuple[int, bytes]:
    """Filter and frame of a block."""
    occupied = (elements << 1) != 0
    sparse = np.count_nonzero(occupied) <= (1 - _SPARSE) * elements.size
    content = _apart(elements, occupied) if sparse else _shuffled(elements)
    return _ZEROS_APART if sparse else _SHUFFLED, zstandard.ZstdCompressor(level=_LEVEL).compress(content)


def _expand(kind: int, frame: memoryview, out: np.ndarray) -> None:
    """One block. Of a frame no more is expanded than a block may have."""
    most = out.nbytes + 2 * _bitmap(out.size)
    try:
        if kind not in (_SHUFFLED, _ZEROS_APART) or not 0 <= zstandard.frame_content_size(frame) <= most:
            raise MalformedError("one of its blocks is none")
        content = np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), np.uint8)
    except zstandard.ZstdError as error:
        raise MalformedError(f"one of its blocks cannot be expanded: {error}") from None
    if kind == _SHUFFLED:
        _unshuffle(content, out)
    else:
        _join(content, out)


def _shuffled(elements: np.ndarray) -> bytes:
    return elements.view(np.uint8).reshape(-1, elements.itemsize).T.tobytes()


def _unshuffle(content: np.ndarray, out: np.ndarray) -> None:
    if content.size != out.nbytes:
        raise MalformedError("one of its blocks has another size than the tensor's shape says")
    planes, to = content.reshape(out.itemsize, -1), out.view(np.uint8).reshape(-1, out.itemsize)
    for place, plane in enumerate(planes):  # four times as fast as all at once
        to[:, place] = plane


def _apart(elements: np.ndarray, occupied: np.ndarray) -> bytes:
    highest = elements[~occupied] != 0
    return np.packbits(occupied).tobytes() + np.packbits(highest).tobytes() + _shuffled(elements[occupied])


def _join(content: np.ndarray, out: np.ndarray) -> None:
    """What `_apart` took apart."""
    occupied = _bits(content, out.size)
    rest = content[_bitmap(out.size) :]
    places = np.flatnonzero(occupied)
    zeros = out.size - places.size
    highest = np.flatnonzero(_bits(rest, zeros))
    values = np.empty(places.size, out.dtype)
    _unshuffle(rest[_bitmap(zeros) :], values)
    out[:] = 0
    if highest.size:
        out[np.flatnonzero(~occupied)[highest]] = 1 << (8 * out.itemsize - 1)
    out[places] = values


def _bitmap(count: int) -> int:
    """Bytes of so many bits."""
    return -(-count // 8)


def _bits(content: np.ndarray, count: int) -> np.ndarray:
    if content.size < _bitmap(count):
        raise MalformedError("one of its blocks is cut short")
    return np.unpackbits(content[: _bitmap(count)], count=count).view(bool)
