"""Broken, wrong and hostile ONNX files: one message, exit code 3, nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest
from onnx import TensorProto

from tests.cli.conftest import Cli, small_model


def save(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString())


def truncated(path: Path) -> None:
    data = small_model().SerializeToString()
    path.write_bytes(data[: len(data) * 2 // 3])


def not_onnx(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7 this is not a model at all\n" * 40)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def external(model: onnx.ModelProto, location: str, length: int) -> onnx.ModelProto:
    """Move the first weight out to a file."""
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    return model


def external_data_outside(path: Path) -> None:
    (path.parent.parent / "secret.bin").write_bytes(bytes(4096))
    save(external(small_model(), "../secret.bin", 1728), path)


def external_data_absolute(path: Path) -> None:
    save(external(small_model(), "/etc/passwd", 1728), path)


def external_data_by_link(path: Path) -> None:
    (path.parent.parent / "secret.bin").write_bytes(bytes(4096))
    (path.parent / "weights.bin").symlink_to(path.parent.parent / "secret.bin")
    save(external(small_model(), "weights.bin", 1728), path)


def external_data_short(path: Path) -> None:
    (path.parent / "weights.bin").write_bytes(bytes(100))
    save(external(small_model(), "weights.bin", 1728), path)


def size_that_lies(path: Path) -> None:
    model = small_model()
    model.graph.initializer[0].dims[0] = 1 << 20
    save(model, path)


def absurd_weight_shape(path: Path) -> None:
    model = small_model()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 40, 1 << 40, 1 << 40, 1 << 40])
    save(model, path)


def cycle(path: Path) -> None:
    model = small_model()
    model.graph.node[0].input[0] = "r"
    save(model, path)


def absurd_computed_shape(path: Path) -> None:
    """ConstantOfShape of 2**50 elements: folding it would fill the memory."""
    make = onnx.helper.make_node
    shape = onnx.helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 25, 1 << 25])
    nodes = [
        make("ConstantOfShape", ["shape"], ["big"], name="/big"),
        make("Add", ["x", "big"], ["y"], name="/add"),
    ]
    x = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])
    graph = onnx.helper.make_graph(nodes, "absurd", [x], [y], [shape])
    save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def deep_nesting(path: Path) -> None:
    """If inside If, 10,000 levels: written by hand, since protobuf would not."""

    def field(number: int, payload: bytes) -> bytes:
        length, size = b"", len(payload)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + payload

    graph = field(2, b"g")
    for _ in range(10_000):
        attribute = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, attribute)) + field(2, b"g")
    path.write_bytes(bytes([8, 8]) + field(8, bytes([16, 17])) + field(7, graph))


def opset_of_the_future(path: Path) -> None:
    model = small_model()
    model.opset_import[0].version = 999
    save(model, path)


def wrong_operand_count(path: Path) -> None:
    model = small_model()
    model.graph.node[1].input.append("c")
    save(model, path)


def operands_that_do_not_fit(path: Path) -> None:
    model = small_model()
    weight = np.ones((5, 17), np.float32)
    model.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(weight, "fc.w"))
    save(model, path)


CASES: list[tuple[Callable[[Path], None], str]] = [
    (truncated, r"bad\.onnx: not an ONNX model, or cut short"),
    (not_onnx, r"bad\.onnx: not an ONNX model"),
    (empty, r"bad\.onnx: not an ONNX model"),
    (external_data_outside, "not a file inside the model's folder"),
    (external_data_absolute, "not a file inside the model's folder"),
    (external_data_by_link, "not a file inside the model's folder"),
    (external_data_short, "bytes 0 to 1728 of 'weights.bin' are asked for, but the file has 100"),
    (size_that_lies, "weight 'conv.w' of shape .* needs 113246208 bytes, but has 1728"),
    (absurd_weight_shape, "weight 'conv.w' of shape"),
    (cycle, "topologically sorted, however input 'r'"),
    (absurd_computed_shape, "not enough memory|too large|too many elements"),
    (deep_nesting, "nested too deeply"),
    (opset_of_the_future, "opset 999 is not supported"),
    (wrong_operand_count, r"Node\(/relu\).*input size 2"),
    (operands_that_do_not_fit, "do not fit together.*/fc"),
]


@pytest.mark.parametrize(("write", "said"), CASES, ids=[write.__name__ for write, _ in CASES])
def test_refused_with_one_message(cli: Cli, tmp_path: Path, write: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path, output = folder / "bad.onnx", tmp_path / "out.dsc"
    write(path)
    message = cli("compile", path, "-o", output).failed(3)
    assert re.search(said, message), message
    assert not output.exists()
    assert not list(tmp_path.glob(".out*"))


def test_unknown_ops_are_listed_all_at_once(cli: Cli, tmp_path: Path) -> None:
    model = small_model()
    for index, (kind, domain) in enumerate([("Frobnicate", ""), ("Warp", "com.example"), ("Frobnicate", "")]):
        value = f"u{index}"
        node = onnx.helper.make_node(kind, ["x"], [value], name=f"/odd_{index}", domain=domain)
        model.graph.node.append(node)
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    save(model, tmp_path / "odd.onnx")
    message = cli("compile", tmp_path / "odd.onnx", "-o", tmp_path / "odd.dsc").failed(3)
    for word in ("Frobnicate", "Warp", "com.example", "/odd_0", "/odd_1", "/odd_2"):
        assert word in message


def test_external_data_that_is_missing(cli: Cli, tmp_path: Path) -> None:
    save(external(small_model(), "weights.bin", 1728), tmp_path / "bad.onnx")
    assert "weights.bin: no such file" in cli("compile", tmp_path / "bad.onnx").failed(2)


def test_files_that_are_no_files(cli: Cli, tmp_path: Path) -> None:
    assert "there is no file" in cli("compile", tmp_path / "none.onnx").failed(2)
    assert "is a folder" in cli("compile", tmp_path).failed(2)
    assert "the zoo has no model 'resnet51'; is it resnet50" in cli("compile", "zoo:resnet51").failed(2)
