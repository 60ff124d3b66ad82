"""Integer products of the reference are exact, on processors whose fast ones saturate too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from dsc.check import Reference
from dsc.check.saturation import without_saturation
from tests.compiled import TextModel

RNG = np.random.default_rng(20261126)
EXTREMES = np.array([-128, -127, 126, 127], np.int8)
PRODUCT = "(uint8[3, 200] x) => (int32[3, 5] y) { y = MatMulInteger(x, w, zx, zw) }"
FUNCTION = """
(uint8[3, 200] x) => (int32[3, 5] y) { y = own.product(x, w, zx, zw) }
<opset_import: ["" : 17], domain: "own"> product (a, b, za, zb) => (c) { c = MatMulInteger(a, b, za, zb) }
"""


def model_of(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    header = '<ir_version: 9, opset_import: ["" : 17, "own" : 1]> net '
    model: onnx.ModelProto = onnx.parser.parse_model(header + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in constants.items())
    return model


@pytest.mark.parametrize("text", [PRODUCT, FUNCTION], ids=["node", "function"])
@pytest.mark.parametrize(
    "zeros", [np.array(-128, np.int8), np.array([127, -128, 0, 3, -7], np.int8)], ids=["one", "columns"]
)
def test_products_of_extreme_bytes(text: str, zeros: np.ndarray, tmp_path: Path) -> None:
    x, w = RNG.choice(np.array([0, 254, 255], np.uint8), (3, 200)), RNG.choice(EXTREMES, (200, 5))
    model = model_of(text, w=w, zx=np.array(0, np.uint8), zw=zeros)
    changed = without_saturation(model)
    kinds = {tensor.name: tensor.data_type for tensor in changed.graph.initializer}
    (product,) = changed.graph.node  # of unsigned bytes, also where the processor's signed ones would be exact
    assert {kinds[name] for name in product.input[1:]} == {onnx.TensorProto.UINT8}
    onnx.save(model, tmp_path / "m.onnx")
    expected = x.astype(np.int64) @ (w.astype(np.int64) - zeros)
    for source in (model, model.SerializeToString(), tmp_path / "m.onnx"):
        np.testing.assert_array_equal(Reference(source).run({"x": x})["y"], expected)


def test_without_a_zero_point() -> None:
    x, w = np.full((3, 200), 255, np.uint8), np.full((200, 5), 127, np.int8)
    model = model_of("(uint8[3, 200] x) => (int32[3, 5] y) { y = MatMulInteger(x, w) }", w=w)
    assert (Reference(model).run({"x": x})["y"] == 255 * 127 * 200).all()
    assert onnx.numpy_helper.to_array(model.graph.initializer[0]).dtype == np.int8  # the caller's is not changed


def test_quantized_products() -> None:
    x, w = np.full((3, 200), 255, np.uint8), np.full((200, 5), 127, np.int8)
    model = model_of(
        "(uint8[3, 200] x) => (uint8[3, 5] y) { y = QLinearMatMul(x, s, z, w, s, zw, sy, z) }",
        w=w,
        s=np.array(1, np.float32),
        z=np.array(0, np.uint8),
        zw=np.array(0, np.int8),
        sy=np.array(255 * 127, np.float32),
    )
    assert (Reference(model).run({"x": x})["y"] == 200).all()


def test_data_in_another_file_stays_with_the_model(tmp_path: Path) -> None:
    x, w = RNG.integers(0, 255, (3, 200), np.uint8, endpoint=True), RNG.choice(EXTREMES, (200, 5))
    scale = RNG.uniform(1, 2, (400, 5)).astype(np.float32)
    text = """(uint8[3, 200] x) => (float[400, 5] y) {
        m = MatMulInteger(x, w)  f = Cast<to = 1>(m)  s = ReduceMax(f)  y = Mul(s, scale)
    }"""
    onnx.save(model_of(text, w=w, scale=scale), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=4096)
    largest = (x.astype(np.int64) @ w.astype(np.int64)).max()
    np.testing.assert_allclose(Reference(tmp_path / "m.onnx").run({"x": x})["y"], largest * scale, rtol=1e-6)


def test_what_is_left_alone() -> None:
    unsigned = model_of(PRODUCT, w=np.zeros((200, 5), np.uint8), zx=np.array(0, np.uint8), zw=np.array(0, np.uint8))
    computed = TextModel("(uint8[3, 4] x, int8[4, 5] w) => (int32[3, 5] y) { y = MatMulInteger(x, w) }").proto()
    for model in (unsigned, computed):
        assert without_saturation(model) is model
