"""Small valid models, damaged: bytes of the file, and the structure of the graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnx.helper

from tests.exchange.models import model, node, value

_ODD_DIMS = (0, -1, 1, 7, 2**31, 2**62)
_ODD_NAMES = ("", "x", "y", "nowhere", "\0", "a/b:c", "ü" * 300)
_ODD_OPS = ("Relu", "Concat", "If", "Nope", "", "Split", "Reshape", "Einsum", "LSTM", "Resize", "Attention", "Constant")


def seeds() -> list[onnx.ModelProto]:
    """A convolution, a transformer's parts, shape arithmetic, control flow, a function."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    x = value("x", [1, 4, 6, 6])
    conv = model(
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
            node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
            node("MaxPool", ["n"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Resize", ["p", "", "s"], ["y"], mode="nearest"),
        ],
        [x],
        [value("y", [1, 4, 6, 6])],
        {"w": weight(4, 4, 3, 3), "b": weight(4), "v": np.ones(4, np.float32), "s": np.float32([1, 1, 2, 2])},
    )
    text = model(
        [
            node("Gather", ["table", "ids"], ["e"]),
            node("LayerNormalization", ["e", "g"], ["l"]),
            node("MatMul", ["l", "m"], ["h"]),
            node("Einsum", ["h", "h"], ["q"], equation="bsh,bth->bst"),
            node("Softmax", ["q"], ["y"], axis=-1),
        ],
        [value("ids", ["b", "s"], np.int64)],
        [value("y", ["b", "s", "s"])],
        {"table": weight(10, 8), "g": weight(8), "m": weight(8, 8)},
    )
    lists = {"i0": [0], "i2": [2], "m1": [-1], "parts": [6, 30], "pads": [0, 0, 1, 0, 0, 1]}
    shapes = model(
        [
            node("Shape", ["x"], ["s"]),
            node("Slice", ["s", "i0", "i2"], ["t"]),
            node("Concat", ["t", "m1"], ["u"], axis=0),
            node("Reshape", ["x", "u"], ["r"]),
            node("Split", ["r", "parts"], ["a", "z"], axis=2),
            node("Pad", ["a", "pads"], ["y"]),
        ],
        [x],
        [value("y", None), value("z", None)],
        {n: np.array(a) for n, a in lists.items()},
    )
    then = onnx.helper.make_graph([node("Relu", ["x"], ["o"])], "then", [], [value("o", None)])
    other = onnx.helper.make_graph([node("Neg", ["x"], ["o"])], "else", [], [value("o", None)])
    control = model(
        [node("If", ["yes"], ["y"], then_branch=then, else_branch=other)],
        [x],
        [value("y", [1, 4, 6, 6])],
        {"yes": np.array(True)},
    )
    body = onnx.helper.make_function(
        "f", "F", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [onnx.helper.make_opsetid("", 17)]
    )
    called = model([node("F", ["x"], ["y"], domain="f")], [x], [value("y", None)], domains=["f"], functions=[body])
    return [conv, text, shapes, control, called]


def damaged_bytes(rng: np.random.Generator) -> Iterator[bytes]:
    """Files with some bytes changed, removed, repeated or put elsewhere, without end."""
    files = [m.SerializeToString() for m in seeds()]
    while True:
        data = bytearray(files[rng.integers(len(files))])
        for _ in range(rng.integers(1, 4)):
            at, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
            kind = rng.integers(4)
            if kind == 0:
                data[at] = int(rng.integers(256))
            elif kind == 1:
                del data[at : at + length]
            elif kind == 2:
                data[at:at] = data[at : at + length]
            else:
                data[at : at + length] = bytes(rng.integers(0, 256, length, np.uint8))
        yield bytes(data)


def damaged_structure(rng: np.random.Generator) -> Iterator[onnx.ModelProto]:
    """Models with one or two odd things in them, without end."""
    whole = seeds()
    while True:
        proto = copy.deepcopy(whole[rng.integers(len(whole))])
        for _ in range(rng.integers(1, 3)):
            _CHANGES[rng.integers(len(_CHANGES))](proto, rng)
        yield proto


def _pick(items: Any, rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]


def _rename(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    made = _pick(proto.graph.node, rng)
    names = made.input if rng.integers(2) and made.input else made.output
    if names:
        names[int(rng.integers(len(names)))] = _pick(_ODD_NAMES, rng)


def _other_op(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    _pick(proto.graph.node, rng).op_type = _pick(_ODD_OPS, rng)


def _operands(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    made = _pick(proto.graph.node, rng)
    if rng.integers(2) and made.input:
        del made.input[int(rng.integers(len(made.input))) :]
    else:
        made.input.extend(["x"] * int(rng.integers(1, 4)))


def _attribute(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    made = _pick(proto.graph.node, rng)
    if not made.attribute:
        made.attribute.append(onnx.helper.make_attribute("axis", int(_pick(_ODD_DIMS, rng))))
        return
    changed = _pick(made.attribute, rng)
    if changed.ints:
        changed.ints[int(rng.integers(len(changed.ints)))] = _pick(_ODD_DIMS, rng)
    elif changed.type == onnx.AttributeProto.INT:
        changed.i = _pick(_ODD_DIMS, rng)
    elif changed.type == onnx.AttributeProto.STRING:
        changed.s = b"ij,,->k..."
    else:
        changed.type = int(rng.integers(15))


def _type(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    _pick([*proto.graph.input, *proto.graph.output], rng).type.tensor_type.elem_type = int(rng.integers(30))


def _shape(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    dims = _pick(proto.graph.input, rng).type.tensor_type.shape.dim
    _pick(dims, rng).dim_value = _pick(_ODD_DIMS, rng)


def _weight(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    if proto.graph.initializer:
        changed = _pick(proto.graph.initializer, rng)
        if rng.integers(2) and changed.dims:
            changed.dims[int(rng.integers(len(changed.dims)))] = _pick(_ODD_DIMS, rng)
        else:
            changed.data_type = int(rng.integers(30))


def _numbers(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Shapes, axes and the like, with their sizes as they were."""
    found = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.INT64]
    if found:
        changed = _pick(found, rng)
        values = np.frombuffer(changed.raw_data, np.int64).copy()
        values[int(rng.integers(len(values)))] = _pick((*_ODD_DIMS, -(2**63), 2**63 - 1), rng)
        changed.raw_data = values.tobytes()


def _order(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    nodes = [proto.graph.node[int(i)] for i in rng.permutation(len(proto.graph.node))]
    copies = [copy.deepcopy(n) for n in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies[: int(rng.integers(1, len(copies) + 1))] if rng.integers(2) else copies)


def _opset(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    proto.opset_import[0].version = int(rng.integers(1, 35))


_CHANGES: tuple[Callable[[onnx.ModelProto, np.random.Generator], None], ...] = (
    _rename, _other_op, _operands, _attribute, _type, _shape, _weight, _numbers, _order, _opset,
)  # fmt: skip
