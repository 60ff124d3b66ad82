"""Cut the big tensors out of a serialized ModelProto before protobuf sees it.

A model is mostly weights. Parsing it the usual way holds them twice: the file's bytes and protobuf's copy.
This walks the wire format (https://protobuf.dev/programming-guides/encoding) along the few fields on the way
to a weight, and hands back the model without the payloads together with where each one lies in the file, so
that weights can stay mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dsc.errors import UnsupportedModelError

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR = 5
RAW_DATA, FLOAT_DATA, DOUBLE_DATA = 9, 4, 10
# On the wire these three are the little-endian array itself.
_PAYLOADS = frozenset({RAW_DATA, FLOAT_DATA, DOUBLE_DATA})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_Message = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Place:
    """The tensor a payload belongs to: `graph.initializer[index]`, or
    `graph.node[index].attribute[attribute].t`.
    """

    index: int
    attribute: int | None


class Cut(NamedTuple):
    """A payload that was taken out: bytes `offset : offset + length` of the file, and the field it was in."""

    field: int
    offset: int
    length: int


class _Field(NamedTuple):
    number: int
    wire_type: int
    tag: int  # where the tag starts
    start: int  # where the value starts, after a length prefix
    end: int


@dataclass
class _Cutter:
    data: memoryview
    threshold: int
    cuts: dict[Place, Cut] = field(default_factory=dict)
    nodes: int = 0
    initializers: int = 0

    def model(self) -> bytes:
        return self._rebuild(0, len(self.data), {_MODEL_GRAPH: self._graph})

    def _graph(self, start: int, end: int) -> bytes:
        return self._rebuild(start, end, {_GRAPH_NODE: self._node, _GRAPH_INITIALIZER: self._initializer})

    def _initializer(self, start: int, end: int) -> bytes:
        place = Place(self.initializers, None)
        self.initializers += 1
        return self._tensor(start, end, place)

    def _node(self, start: int, end: int) -> bytes:
        index, attributes = self.nodes, 0
        self.nodes += 1
        if end - start <= self.threshold:
            return bytes(self.data[start:end])

        def attribute(start: int, end: int) -> bytes:
            nonlocal attributes
            place = Place(index, attributes)
            attributes += 1
            return self._rebuild(start, end, {_ATTRIBUTE_TENSOR: lambda s, e: self._tensor(s, e, place)})

        return self._rebuild(start, end, {_NODE_ATTRIBUTE: attribute})

    def _tensor(self, start: int, end: int, place: Place) -> bytes:
        kept = bytearray()
        for f in _fields(self.data, start, end):
            is_payload = f.number in _PAYLOADS and f.wire_type == _BYTES
            if is_payload and f.end - f.start > self.threshold:
                if place in self.cuts:
                    raise _malformed(f.tag, "a tensor with two payloads")
                self.cuts[place] = Cut(f.number, f.start, f.end - f.start)
            else:
                kept += self.data[f.tag : f.end]
        return bytes(kept)

    def _rebuild(self, start: int, end: int, inner: dict[int, _Message]) -> bytes:
        """The message with the sub-messages named by `inner` replaced by what those make of them."""
        kept = bytearray()
        for f in _fields(self.data, start, end):
            replace = inner.get(f.number) if f.wire_type == _BYTES else None
            if replace is None:
                kept += self.data[f.tag : f.end]
                continue
            message = replace(f.start, f.end)
            kept += _varint(f.number << 3 | _BYTES) + _varint(len(message)) + message
        return bytes(kept)


def cut_payloads(data: memoryview, threshold: int) -> tuple[bytes, dict[Place, Cut]]:
    """The serialized model without payloads of more than `threshold` bytes, and where in `data` each of them
    is.

    Only top-level initializers and tensors in attributes of top-level nodes are cut: subgraphs keep theirs.
    Raises UnsupportedModelError where the bytes are no protobuf message.
    """
    cutter = _Cutter(data, threshold)
    return cutter.model(), cutter.cuts


def _fields(data: memoryview, start: int, end: int) -> Iterator[_Field]:
    at = start
    while at < end:
        tag = at
        key, at = _read_varint(data, at, end)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value_start = at
            _, at = _read_varint(data, at, end)
        elif wire_type == _BYTES:
            length, value_start = _read_varint(data, at, end)
            at = value_start + length
        elif wire_type in (_FIXED32, _FIXED64):
            value_start = at
            at += 4 if wire_type == _FIXED32 else 8
        else:
            raise _malformed(tag, f"wire type {wire_type}")
        if number == 0 or at > end:
            raise _malformed(tag, "a field that reaches past the end of its message" if number else "field number 0")
        yield _Field(number, wire_type, tag, value_start, at)


def _read_varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    start = at
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _malformed(start, "an unfinished number")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _malformed(offset: int, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"not an ONNX model, or cut short: {what} at byte {offset}")
