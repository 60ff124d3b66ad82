"""Transposing squares of elements in registers, by shuffles that are one instruction each.

A vector has chunks of 16 bytes. Within chunks elements of two vectors are put in turns (x86's `unpack`, Arm's `zip`);
chunks of two vectors are sorted into those of even and of odd numbers (`vshufi64x2`, `vperm2f128`). What a machine
needs tables of indices for, such as exchanging every other element of two vectors, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

CHUNK = 16
"""Bytes within which elements are put in turns."""


def turned(vectors: Sequence[Expr]) -> list[Expr]:
    """The transposed square of `vectors`, as many as their lanes (a power of two), in variables of the open frame.

    Each run of as many vectors as a chunk has elements is transposed in each chunk, by perfect shuffles, one for each
    halving; then the square of chunks is, by their inverse.
    """
    lanes = len(vectors)
    chunk = min(lanes, CHUNK // element_bytes(vectors[0]))
    runs = [turned_in_chunks(vectors[first : first + chunk]) for first in range(0, lanes, chunk)]
    columns = [_by_chunks([run[i] for run in runs], chunk) for i in range(chunk)]
    return [columns[i % chunk][i // chunk] for i in range(lanes)]


def element_bytes(vector: Expr) -> int:
    """Of an element."""
    return int(vector.ty.dtype.bits) // 8


def in_turns(left: Expr, right: Expr, size: int = 1) -> tuple[Expr, Expr]:
    """Runs of `size` elements of both in turns: of the lower half of each chunk, and of the upper half."""
    lanes = left.ty.dtype.lanes
    chunk = min(lanes, CHUNK // element_bytes(left))

    def half(begin: int) -> Expr:
        places = [
            source * lanes + first + run + element
            for first in range(0, lanes, chunk)
            for run in range(begin, begin + chunk // 2, size)
            for source in range(2)
            for element in range(size)
        ]
        return _shuffle(left, right, places)

    return half(0), half(chunk // 2)


def turned_in_chunks(rows: Sequence[Expr]) -> list[Expr]:
    """Vectors with each chunk of them transposed: as many as a chunk has elements, or fewer (a power of two).

    Of fewer rows, a chunk of a result has the first columns of all rows, as many as fit; that of the next, the next.
    """
    found, half = list(rows), len(rows) // 2
    for _ in range(half.bit_length()):
        found = [vector for i in range(half) for vector in in_turns(found[i], found[i + half])]
    return found


def _by_chunks(rows: Sequence[Expr], chunk: int) -> list[Expr]:
    """As many vectors as they have chunks, these transposed."""
    found, half, lanes = list(rows), len(rows) // 2, len(rows) * chunk
    for _ in range(half.bit_length()):
        pairs = [(found[2 * i], found[2 * i + 1]) for i in range(half)]
        found = [
            _shuffle(*pair, [first + i for first in range(odd * chunk, 2 * lanes, 2 * chunk) for i in range(chunk)])
            for odd in range(2)
            for pair in pairs
        ]
    return found


def _shuffle(left: Expr, right: Expr, places: Sequence[int]) -> Expr:
    """Elements by their place in both vectors, in a variable."""
    return T.Bind(tirx.Shuffle([left, right], [tirx.const(place, "int32") for place in places]))
