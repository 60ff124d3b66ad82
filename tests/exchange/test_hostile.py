"""Broken and hostile files: one clear message each, and no crash."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest

from dsc.errors import DscError, UnsupportedModelError, UsageError
from dsc.exchange import import_model
from tests.exchange.models import model, node, value

RNG = np.random.default_rng(0)


def _matmul(size: int = 2) -> onnx.ModelProto:
    weights = {"w": RNG.standard_normal((size, size), np.float32)}
    return model([node("MatMul", ["x", "w"], ["y"])], [value("x", [2, size])], [value("y", [2, size])], weights)


@pytest.mark.parametrize("size", [2, 512])
def test_every_truncation_is_refused(size: int) -> None:
    data = _matmul(size).SerializeToString()
    for cut in {0, 1, 2, 10, len(data) // 2, len(data) - 1}:
        with pytest.raises(UnsupportedModelError, match=r"not (an|a valid) ONNX model"):
            import_model(data[:cut])


@pytest.mark.parametrize("data", [b"hello, I am a text\n" * 9, b"PK\x03\x04" + bytes(range(256))])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(UnsupportedModelError, match=r"model\.onnx: not an ONNX model"):
        import_model(path)


def test_random_damage_never_crashes() -> None:
    data = bytearray(_matmul(40).SerializeToString())
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        with contextlib.suppress(DscError):  # what it must not raise is anything else
            import_model(bytes(damaged))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "no.onnx", "no such file"),
        (tmp_path, "not a regular"),
        (tmp_path / "pipe", "not a reg"),
    ):
        with pytest.raises(UsageError, match=message):
            import_model(path)


def _external(folder: Path, dims: tuple[int, ...] = (4,), **entries: str) -> Path:
    proto = model([node("Add", ["x", "w"], ["y"])], [value("x", [4])], [value("y", [4])])
    tensor = onnx.TensorProto(name="w", dims=dims, data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    proto.graph.initializer.append(tensor)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (inside / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    return inside


@pytest.mark.parametrize(
    "location", ["../secret.bin", "link.bin", "/etc/passwd", "", ".", "w.bin\0", "x/../../secret.bin"]
)
def test_external_data_outside_the_folder(folder: Path, location: str) -> None:
    with pytest.raises(UnsupportedModelError, match=r"weight 'w': .* is not a file inside the model's folder"):
        import_model(_external(folder, location=location))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "4", "length": "16"}, "bytes 4 to 20 of 'w.bin' are asked for, but the file has 16"),
        ({"offset": "17"}, "asked for, but the file has 16"),
        ({"offset": "-4"}, "offset '-4' is not a byte count"),
        ({"length": "9" * 30}, "is not a byte count"),
        ({"length": "8"}, r"shape \[4\] and type FLOAT needs 16 bytes, but has 8"),
    ],
)
def test_external_data_that_lies(folder: Path, entries: dict[str, str], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        import_model(_external(folder, location="w.bin", **entries))


def test_external_data_that_is_right_is_mapped(folder: Path) -> None:
    graph = import_model(_external(folder, location="w.bin"))
    (constant,) = [c for op in graph.ops() if (c := graph.constant(op.results[0])) is not None]
    np.testing.assert_array_equal(constant, np.arange(4, dtype=np.float32))


def test_external_data_needs_a_path(folder: Path) -> None:
    with pytest.raises(UsageError, match="pass the model as a path"):
        import_model(_external(folder, location="w.bin").read_bytes())


@pytest.mark.parametrize("dims", [(10**9, 2), (2**62, 4), (-1, -4), (3,)])
def test_dims_that_do_not_fit_the_data(dims: tuple[int, ...]) -> None:
    proto = _matmul()
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    with pytest.raises(UnsupportedModelError, match="weight 'w'"):
        import_model(proto)


def test_cycle() -> None:
    nodes = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])]
    with pytest.raises(UnsupportedModelError, match="topologically sorted, however input 'b'"):
        import_model(model(nodes, [value("x", [2])], [value("b", [2])]))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _nested(depth: int) -> bytes:
    """If in If in If, written by hand, from the inside out: protobuf itself would refuse to."""
    out = value("o", [2]).SerializeToString()
    leaf = onnx.helper.make_graph([node("Identity", ["x"], ["o"])], "leaf", [], [value("o", [2])]).SerializeToString()
    kind = _varint(20 << 3) + _varint(onnx.AttributeProto.GRAPH)
    other = _field(5, _field(1, b"else_branch") + _field(6, leaf) + kind)
    heads, tails, size = [], [leaf], len(leaf)
    for level in range(depth):
        graph = _varint(6 << 3 | 2) + _varint(size)
        then = _field(1, b"then_branch") + graph
        attribute = _varint(5 << 3 | 2) + _varint(len(then) + size + len(kind)) + then
        op = _field(1, b"c") + _field(2, b"o") + _field(4, b"If")
        length = len(op) + len(attribute) + size + len(kind) + len(other)
        head = _varint(1 << 3 | 2) + _varint(length) + op + attribute
        tail = kind + other + _field(2, b"g") + _field(12, out)
        if level == depth - 1:
            inputs = (value("x", [2]), value("c", [], np.bool_))
            tail += b"".join(_field(11, v.SerializeToString()) for v in inputs)
        heads.append(head)
        tails.append(tail)
        size += len(head) + len(tail)
    start = onnx.ModelProto(ir_version=8, opset_import=[onnx.helper.make_opsetid("", 17)]).SerializeToString()
    return start + _field(7, b"".join(heads[::-1] + tails))


def test_nesting() -> None:
    import_model(_nested(20)).verify()
    for depth in (32, 33, 1000, 10_000):
        with pytest.raises(UnsupportedModelError, match="nested too deeply"):
            import_model(_nested(depth))


def test_functions_that_explode() -> None:
    """Each function calls the next ten times: 10 to the 12th nodes."""

    def function(name: str, calls: list[str], domain: str) -> onnx.FunctionProto:
        names = ["x", *(f"t{i}" for i in range(len(calls) - 1)), "y"]
        nodes = [node(c, [names[i]], [names[i + 1]], domain=domain) for i, c in enumerate(calls)]
        imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("f", 1)]
        return onnx.helper.make_function("f", name, ["x"], ["y"], nodes, imports)

    functions = [function(f"f{i}", [f"f{i + 1}"] * 10, "f") for i in range(12)] + [function("f12", ["Relu"], "")]
    call = [node("f0", ["x"], ["y"], domain="f")]
    proto = model(call, [value("x", [2])], [value("y", [2])], domains=["f"], functions=functions)
    with pytest.raises(UnsupportedModelError, match="more than 1000000 nodes when inlined"):
        import_model(proto)


def test_all_unknown_operators_are_listed_at_once() -> None:
    nodes = [
        node("Foo", ["x"], ["a"], name="first", domain="com.acme"),
        node("Foo", ["a"], ["b"], name="second", domain="com.acme"),
        node("Bar", ["b"], ["y"], domain="com.acme"),
    ]
    proto = model(nodes, [value("x", [2])], [value("y", [2])], domains=["com.acme"])
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(proto)
    assert "com.acme.Foo: first, second" in str(caught.value)
    assert "com.acme.Bar: (makes 'y')" in str(caught.value)


@pytest.mark.parametrize("opset", [99])
def test_opsets_outside_the_range(opset: int) -> None:
    proto = model([node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2])], opset=opset)
    with pytest.raises(UnsupportedModelError, match=f"opset {opset} is not supported: 7 to 28 are"):
        import_model(proto)


def test_shapes_that_do_not_fit() -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"], name="product")]
    proto = model(nodes, [value("x", [2, 3])], [value("y", [2, 2])], {"w": np.ones((2, 2), np.float32)})
    with pytest.raises(UnsupportedModelError, match="Incompatible dimensions for matrix multiplication"):
        import_model(proto)


def test_two_weights_of_one_name() -> None:
    proto = _matmul()
    proto.graph.initializer.append(proto.graph.initializer[0])
    with pytest.raises(UnsupportedModelError, match="two initializers are named 'w'"):
        import_model(proto)


def test_a_chain_of_5000_nodes_does_not_exhaust_the_stack() -> None:
    nodes = [node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(5_000)]
    graph = import_model(model(nodes, [value("t0", [2])], [value("t5000", [2])]))
    assert sum(1 for _ in graph.ops()) == 5_000


def _with_bytes(proto: onnx.ModelProto, text: bytes, replacement: bytes) -> bytes:
    data = proto.SerializeToString()
    assert data.count(text) >= 1
    assert len(text) == len(replacement)
    return data.replace(text, replacement)


def test_names_that_are_no_text() -> None:
    proto = model([node("Relu", ["x"], ["y"], name="relu-0")], [value("x", [2])], [value("y", [2])])
    for name in (b"relu-0", b"Relu", b"test"):
        with pytest.raises(UnsupportedModelError, match="is not UTF-8 text"):
            import_model(_with_bytes(proto, name, b"\xff" * len(name)))


@pytest.mark.parametrize("equation", [b"ij,j\xc3 -> ik", b"ij,j1 -> ik "])
def test_equations_that_onnx_does_not_come_back_from(equation: bytes) -> None:
    op = node("Einsum", ["x", "x"], ["y"], equation="ij,jk -> ik ")
    proto = model([op], [value("x", [2, 2])], [value("y", [2, 2])])
    with pytest.raises(UnsupportedModelError, match=r"is not (UTF-8 text|an equation)"):
        import_model(_with_bytes(proto, b"ij,jk -> ik ", equation.ljust(12)[:12]))


def test_types_that_an_operator_does_not_take() -> None:
    proto = model([node("Sin", ["x"], ["y"])], [value("x", [2], np.int32)], [value("y", [2], np.int32)])
    with pytest.raises(UnsupportedModelError, match="do not fit together"):
        import_model(proto)
