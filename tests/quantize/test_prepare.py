from __future__ import annotations

import numpy as np
import onnx
import pytest

from dsc.errors import UnsupportedModelError, UsageError
from dsc.quantize.prepare import OPSET, prepare
from tests.compiled import TextModel
from tests.quantize.nets import CONVS, samples, weight


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    from dsc.check import Reference

    return next(iter(Reference(model, 1).run(feed).values()))


def test_a_batch_norm_goes_into_the_weights_and_names_stay() -> None:
    proto = CONVS.proto()
    model = prepare(proto)
    assert [n.name for n in model.graph.node] == [n.name for n in proto.graph.node if n.op_type != "BatchNormalization"]
    assert {"n", "r", "y"} <= {name for node in model.graph.node for name in node.output}
    (feed,) = samples(CONVS, 1)
    expected = run(proto, feed)
    np.testing.assert_allclose(run(model, feed), expected, atol=1e-5 * np.abs(expected).max())  # sums in another order
    assert len(proto.graph.node) == 10  # the caller's is as it was


@pytest.mark.parametrize("body", ["y = Add(c, n)", "y = Identity(n)"])
def test_a_batch_norm_of_a_shared_convolution_stays(body: str) -> None:
    head = "c = Conv(x, w) n = BatchNormalization(c, s, s, s, s)"
    outputs = "float[1,4,5,5] y, float[1,4,5,5] c" if "Identity" in body else "float[1,4,5,5] y"
    model = TextModel(
        f"(float[1,4,5,5] x) => ({outputs}) {{ {head} {body} }}", {"w": weight(4, 4, 1, 1), "s": np.ones(4, np.float32)}
    )
    assert "BatchNormalization" in {node.op_type for node in prepare(model.proto()).graph.node}


def test_weights_behind_what_moves_them_are_constants() -> None:
    """And a scalar stays one."""
    model = TextModel(
        """(float[2,6] x) => (float[2,5] y, float z) {
            axes = Constant<value = int64[1] {0}>()
            one = Constant<value = float[1] {2.5}>()
            s = Squeeze(one, axes)
            t = Transpose<perm=[1,0]>(w)
            m = MatMul(x, t)
            y = Mul(m, s)
            z = Identity(s)
        }""",
        {"w": weight(5, 6)},
    ).proto()
    found = prepare(model)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in found.graph.initializer}
    np.testing.assert_array_equal(tensors["t"], weight(5, 6).T)
    assert tensors["s"].shape == ()
    assert "w" not in tensors
    assert [node.op_type for node in found.graph.node] == ["MatMul", "Mul"]
    feed = {"x": weight(2, 6)}
    np.testing.assert_array_equal(run(found, feed), run(model, feed))


def test_an_old_opset_is_raised_and_a_new_one_left() -> None:
    model = TextModel("(float[2,3,1] x) => (float[2,3] y) { y = Squeeze<axes=[2]>(x) }", opset=11).proto()
    found = prepare(model)
    assert [entry.version for entry in found.opset_import] == [OPSET]
    assert found.graph.node[-1].op_type == "Squeeze"
    feed = {"x": weight(2, 3, 1)}
    np.testing.assert_array_equal(run(found, feed), feed["x"][..., 0])
    newer = TextModel("(float[2] x) => (float[2] y) { y = Relu(x) }", opset=19).proto()
    assert [entry.version for entry in prepare(newer).opset_import] == [19]


def test_nodes_are_named_apart() -> None:
    model = TextModel("(float[2] x) => (float[2] y) { a = Relu(x) [n] b = Relu(a) [n] y = Relu(b) }").proto()
    assert [node.name for node in prepare(model).graph.node] == ["Relu_a", "n", "n_1"]


def test_what_cannot_be_prepared() -> None:
    quantized = TextModel("(float[2] x, float s) => (uint8[2] y) { y = QuantizeLinear(x, s) }").proto()
    with pytest.raises(UsageError, match=r"quantized already \(QuantizeLinear\)"):
        prepare(quantized)
    few_bits = TextModel(
        "(float[2, 16] x, uint8[3, 1, 8] b, float[3] s) => (float[2, 3] y)"
        "{ y = com.microsoft.MatMulNBits <K = 16, N = 3, bits = 4, block_size = 16> (x, b, s) }"
    ).proto()
    with pytest.raises(UsageError, match=r"quantized already \(MatMulNBits\)"):
        prepare(few_bits)
    with pytest.raises(UnsupportedModelError, match="not an ONNX model"):
        prepare(b"nonsense")
    with pytest.raises(UsageError, match=r"nowhere\.onnx cannot be read"):
        prepare("nowhere.onnx")
