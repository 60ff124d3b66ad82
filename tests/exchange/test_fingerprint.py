"""The hash by which an artifact knows its model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from onnx import TensorProto

from dsc.exchange import fingerprint
from dsc.pipeline import compile_model


def model() -> onnx.ModelProto:
    """y = x + w of 2,048 elements: large enough to lie in a file of its own."""
    weight = onnx.numpy_helper.from_array(np.arange(2048, dtype=np.float32), "w")
    x, y = (onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [2048]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "add", [x], [y], [weight])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_one_file_has_the_hash_of_its_bytes(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "m.onnx")
    expected = hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    assert fingerprint(tmp_path / "m.onnx") == expected
    assert fingerprint((tmp_path / "m.onnx").read_bytes()) == expected
    assert fingerprint(model()) == expected


def test_external_data_counts(tmp_path: Path) -> None:
    path, data = tmp_path / "m.onnx", tmp_path / "m.data"
    onnx.save(model(), path, save_as_external_data=True, location="m.data", size_threshold=0)
    before = fingerprint(path)
    assert fingerprint(path) == before
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)
    assert fingerprint(path) != before


def test_artifacts_carry_it(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "m.onnx")
    manifest = compile_model(tmp_path / "m.onnx", shapes={"x": [2048]}).model.manifest
    assert manifest.provenance["sha256"] == fingerprint(tmp_path / "m.onnx")
    assert manifest.provenance["shapes"] == {"x": [2048]}
