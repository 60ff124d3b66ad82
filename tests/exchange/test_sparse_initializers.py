"""Weights that a model has as sparse initializers: both forms of indices, any type, and what is compiled of them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime
import pytest

from dsc.errors import UnsupportedModelError
from dsc.exchange import import_model
from dsc.pipeline import compile_model
from dsc.prune.prune import prune
from dsc.sparsity import Pattern

RNG = np.random.default_rng(6)


def sparse(name: str, array: np.ndarray, form: str) -> onnx.SparseTensorProto:
    """form: "linear" indices (into the flat array), or "coordinates", a row for each element."""
    places = np.nonzero(array)
    values = onnx.numpy_helper.from_array(array[places], name)
    found = np.flatnonzero(array) if form == "linear" else np.stack(places, 1)
    return onnx.helper.make_sparse_tensor(
        values, onnx.numpy_helper.from_array(found.astype(np.int64), "i"), array.shape
    )


def model(text: str, tensors: list[onnx.SparseTensorProto], dense: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = onnx.parser.parse_graph(f"m {text}")
    graph.sparse_initializer.extend(tensors)
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in dense.items())
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("shape", [(7,), (5, 6), (4, 3, 3, 2), (30, 40)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int64"])
@pytest.mark.parametrize("form", ["linear", "coordinates"])
def test_both_forms_of_indices_and_all_types(form: str, dtype: str, shape: tuple[int, ...]) -> None:
    element = np.dtype(getattr(ml_dtypes, dtype, dtype))
    for kept in (0.3, 0.0, 1.0):
        array = (RNG.integers(1, 100, shape) * (RNG.random(shape) < kept)).astype(element)
        proto = model(
            "(float[1] x) => (float[1] y) { y = Identity(x) w1 = Identity(w) }", [sparse("w", array, form)], {}
        )
        info = onnx.helper.make_tensor_value_info("w1", onnx.helper.np_dtype_to_tensor_dtype(element), shape)
        proto.graph.output.append(info)
        graph = import_model(proto)
        found = graph.constant(graph.outputs[1].owner.operands[0])
        assert found is not None
        assert found.dtype == element
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("form", ["linear", "coordinates"])
def test_a_product_by_one_skips_its_zeros(form: str) -> None:
    """In float and in bytes, as ONNX Runtime has it of the same model."""
    w = RNG.standard_normal((256, 192)).astype(np.float32)
    w = w * Pattern.parse("4x1").keep(np.abs(w.T), 0.1).T.astype(np.float32)
    q = np.round(np.clip(w * 20, -127, 127)).astype(np.int8)
    text = """(float[64,256] x, uint8[64,256] b) => (float[64,192] y, int32[64,192] z) {
        y = MatMul(x, w) z = MatMulInteger(b, q, zero)
    }"""
    proto = model(text, [sparse("w", w, form), sparse("q", q, form)], {"zero": np.uint8(7)})
    compiled = compile_model(proto)
    kernels = {choice.kernel for choice in compiled.model.choices}
    assert "cpu.sparse_matmul" in kernels
    given = {
        "x": RNG.standard_normal((64, 256)).astype(np.float32),
        "b": RNG.integers(0, 256, (64, 256)).astype(np.uint8),
    }
    found = compiled.model.load().run(given)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    y, z = session.run(None, given)
    np.testing.assert_allclose(found["y"], y, rtol=1e-5, atol=1e-5 * np.abs(y).max())
    np.testing.assert_array_equal(found["z"], z)


def test_indices_that_do_not_fit_are_refused() -> None:
    array = np.float32([[0, 2], [3, 0]])
    for wrong in ([[0, 1], [2, 0]], [[0, 1], [-1, 0]], [1, 4], [1, -2], [[0, 1]], [1]):
        proto = sparse("w", array, "linear")
        proto.indices.CopyFrom(onnx.numpy_helper.from_array(np.array(wrong, np.int64), "i"))
        made = model("(float[2,2] x) => (float[2,2] y) { y = Add(x, w) }", [proto], {})
        with pytest.raises(UnsupportedModelError, match=r"sparse weight 'w': its indices do not fit shape \[2, 2\]"):
            import_model(made)


@pytest.mark.parametrize("form", ["linear", "coordinates"])
def test_they_can_be_pruned_further(form: str) -> None:
    w = (RNG.standard_normal((64, 48)) * (RNG.random((64, 48)) < 0.4)).astype(np.float32)
    proto = model("(float[n,64] x) => (float[n,48] y) { y = MatMul(x, w) }", [sparse("w", w, form)], {})
    pruned = prune(proto, sparsity=0.9).model
    (tensor,) = pruned.graph.initializer
    after = onnx.numpy_helper.to_array(tensor)
    assert not pruned.graph.sparse_initializer
    assert np.mean(after == 0) == pytest.approx(0.9, abs=0.01)
    np.testing.assert_array_equal(after[after != 0], w[after != 0])
    assert proto.graph.sparse_initializer  # the user's model is as it was
