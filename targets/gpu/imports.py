"""What host code imports, as TVM serializes it: device code as its compiler made it, in place of what TVM has.

TVM's code generator keeps CUDA source where its CUDA runtime is not loaded, and has it compiled when the library is
loaded, by Python. A library of dsc's carries images, so that nothing is compiled there and a mistake shows here. In
place of a code object for AMD's GPUs there may be an image for the simulator.

The form, of integers of 64 bits with the least byte first (TVM's ``SerializeModuleToBytes`` and tvm-ffi's
``ProcessLibraryBin``): the size of all; two lists that make the tree of imports; for each module its kind and, but for
the library itself, a string of bytes. That of a device's module is its format, a map of its functions, and its code.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

LIBRARY = b"_lib"
_WORD = struct.Struct("<Q")


@dataclass(frozen=True)
class Form:
    """Of a device's modules: their kind, and the formats of the code that TVM leaves there and of images."""

    kind: bytes
    code: bytes
    image: bytes


CUDA = Form(kind=b"cuda", code=b"cuda", image=b"fatbin")
ROCM = Form(kind=b"hip", code=b"hsaco", image=b"hsaco")


class _Reader:
    """Goes through bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def word(self) -> int:
        """The next integer."""
        (value,) = _WORD.unpack_from(self.data, self.place)
        self.place += _WORD.size
        return int(value)

    def take(self, count: int) -> bytes:
        """The next bytes. Raises ValueError where there are no more."""
        found = self.data[self.place : self.place + count]
        if len(found) != count:
            raise ValueError(f"TVM's imports end within {count} bytes at {self.place}")
        self.place += count
        return found

    def string(self) -> bytes:
        """The next string, which begins with its length."""
        return self.take(self.word())

    def done(self) -> bool:
        """Whether nothing is left."""
        return self.place == len(self.data)


def with_images(imports: bytes, form: Form, images: Mapping[bytes, bytes]) -> bytes:
    """`imports` with the image of each device's code in its place.

    Raises ValueError where one has none, or the form is another.
    """
    reader = _Reader(imports)
    if reader.word() != len(imports) - _WORD.size:
        raise ValueError("TVM's imports are of another size than they say")
    parts = []
    for _ in range(2):
        count = reader.word()
        parts += [_WORD.pack(count), reader.take(count * _WORD.size)]
    while not reader.done():
        kind = reader.string()
        parts.append(_string(kind))
        if kind != LIBRARY:
            payload = reader.string()
            parts.append(_string(_compiled(payload, form, images) if kind == form.kind else payload))
    made = b"".join(parts)
    return _WORD.pack(len(made)) + made


def _compiled(payload: bytes, form: Form, images: Mapping[bytes, bytes]) -> bytes:
    """The bytes of one module, which begin with its format and end with its code."""
    if not payload.startswith(_string(form.code)):
        return payload
    for source, image in images.items():
        code = _string(source)
        if payload.endswith(code):
            functions = payload.removeprefix(_string(form.code)).removesuffix(code)
            return _string(form.image) + functions + _string(image)
    raise ValueError(f"a {form.kind.decode()} module was not compiled")


def _string(value: bytes) -> bytes:
    return _WORD.pack(len(value)) + value
