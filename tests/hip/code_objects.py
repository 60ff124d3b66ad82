"""What libraries for AMD's GPUs hold: modules as TVM serializes them, and the metadata of the code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

TYPE = 4
"""Bytes: a code, bits, and lanes of 16 bits."""
HANDLE = 3


class Reader:
    """Goes through numbers and strings of a module."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place

    def number(self) -> int:
        self.place += 8
        return int.from_bytes(self.data[self.place - 8 : self.place], "little")

    def take(self, count: int) -> bytes:
        self.place += count
        return self.data[self.place - count : self.place]

    def string(self) -> bytes:
        return self.take(self.number())


def modules_in(library: bytes) -> Iterator[tuple[list[tuple[int, str]], bytes]]:
    """Of each module in a library: what its only kernel takes, as `metadata` has it, and its code."""
    for match in re.finditer(re.escape((5).to_bytes(8, "little") + b"hsaco"), library):
        reader = Reader(library, match.end())
        assert reader.number() == 1
        assert reader.string() == reader.string()
        types = [reader.take(TYPE) for _ in range(reader.number())]
        for _ in range(reader.number()):
            reader.string()
        reader.take(4 * reader.number())
        takes = [(bits // 8, "global_buffer" if code == HANDLE else "by_value") for code, bits, *_ in types]
        yield takes, reader.string()


def metadata(code: bytes) -> list[tuple[int, str]]:
    """Size in bytes and kind of each argument of the only kernel of a code object, by its note.

    That is msgpack: short strings follow their length and 0xa0, small numbers are themselves.
    """
    arguments = code[code.index(b"\xa5.args") : code.index(b".group_segment_fixed_size")]
    sizes = [size[0] for size in re.findall(rb"\xa5\.size(.)", arguments, re.DOTALL)]
    kinds = [kind.decode() for kind in re.findall(rb"\xab\.value_kind[\xa0-\xbf]([a-z_]+)", arguments)]
    return [pair for pair in zip(sizes, kinds, strict=True) if not pair[1].startswith("hidden_")]
