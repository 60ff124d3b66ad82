"""Quantized operators of com.microsoft, against ONNX Runtime's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dsc.errors import UnsupportedModelError
from dsc.exchange import import_model
from dsc.pipeline import compile_model
from tests.exchange.models import model, node, run, value

RNG = np.random.default_rng()
SHAPE = [2, 8, 6, 5]
INTO = {"xs": np.float32(0.05), "xz": np.uint8(120), "ys": np.float32(0.04), "yz": np.uint8(100)}
WEIGHT = {"w": RNG.integers(-63, 64, (5, 7), np.int8), "ws": np.float32(0.01), "wz": np.int8(0)}
SIGNED = {"xz": np.int8(-4), "yz": np.int8(3)}


def call(op_type: str, inputs: str, **attributes: Any) -> onnx.NodeProto:
    """An operator of com.microsoft; "-" is an absent input."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return node(op_type, names, ["y"], domain="com.microsoft", name="linear", **attributes)


CASES: dict[str, tuple[onnx.NodeProto, dict[str, Any]]] = {
    "add": (call("QLinearAdd", "x xs xz r xs xz ys yz"), {"r": RNG.integers(0, 256, (8, 1, 5), np.uint8)}),
    "add of signed": (call("QLinearAdd", "x xs xz r xs xz ys yz"), {"r": np.int8(7), **SIGNED}),
    "mul": (call("QLinearMul", "x xs xz x xs xz ys yz"), {}),
    "pool": (
        call("QLinearAveragePool", "x xs xz ys yz", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0]),
        {},
    ),
    "pool of padding": (
        call("QLinearAveragePool", "x xs xz ys yz", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
        {},
    ),
    "global pool": (call("QLinearGlobalAveragePool", "x xs xz ys yz"), {}),
    "concat": (
        call("QLinearConcat", "ys yz x xs xz r ys xz", axis=1),
        {"r": RNG.integers(0, 256, (2, 3, 6, 5), np.uint8)},
    ),
    "leaky relu": (call("QLinearLeakyRelu", "x xs xz ys yz", alpha=0.2), {}),
    "leaky relu, usual": (call("QLinearLeakyRelu", "x xs xz ys yz"), {}),
    "sigmoid": (call("QLinearSigmoid", "x xs xz ys yz"), {"ys": np.float32(1 / 256), "yz": np.uint8(0)}),
    "softmax": (
        call("QLinearSoftmax", "x xs xz ys yz", axis=-1, opset=13),
        {"ys": np.float32(1 / 256), "yz": np.uint8(0)},
    ),
    "where": (
        call("QLinearWhere", "c x xs xz r xs xz ys yz"),
        {"c": RNG.random((6, 5)) < 0.5, "r": RNG.integers(0, 256, (8, 6, 5), np.uint8)},
    ),
}
MATRICES: dict[str, tuple[onnx.NodeProto, dict[str, Any]]] = {
    "gemm": (call("QGemm", "x xs xz w ws wz - ys yz"), WEIGHT),
    "gemm with a bias": (
        call("QGemm", "x xs xz w ws wz b ys yz", transB=1, alpha=0.5),
        WEIGHT | {"w": WEIGHT["w"].reshape(7, 5), "b": RNG.integers(-900, 900, 7, np.int32)},
    ),
    "gemm of columns' scales": (
        call("QGemm", "x xs xz w ws wz b ys yz"),
        WEIGHT
        | {"ws": RNG.uniform(0.005, 0.02, 7).astype(np.float32), "wz": np.zeros(7, np.int8)}
        | {"b": RNG.integers(-900, 900, 7, np.int32)},
    ),
    "gemm to floats": (call("QGemm", "x xs xz w ws wz b"), WEIGHT | {"b": RNG.integers(-900, 900, 7, np.int32)}),
    "matmul to floats": (call("MatMulIntegerToFloat", "x w xs ws xz wz"), WEIGHT),
    "matmul to floats with a bias": (
        call("MatMulIntegerToFloat", "x w xs ws xz - b"),
        WEIGHT | {"b": RNG.standard_normal(7, np.float32)},
    ),
    "matmul of floats": (
        call("DynamicQuantizeMatMul", "x w ws wz b"),
        WEIGHT | {"b": RNG.standard_normal(7, np.float32)},
    ),
    "matmul of floats alone": (call("DynamicQuantizeMatMul", "x w ws"), WEIGHT),
}
FLOATS = ("to floats", "of floats")


@pytest.mark.parametrize("name", [*CASES, *MATRICES])
def test_as_onnxruntime(name: str) -> None:
    """Bytes within one step, which is where a result lies on a tie of theirs; floats to rounding."""
    op, given = (CASES | MATRICES)[name]
    used = {key: np.asarray(array) for key, array in (INTO | given).items() if key in op.input}
    shape = SHAPE if name in CASES else [9, 5]
    floats = any(what in name for what in FLOATS)
    dtype = np.float32 if "of floats" in name else (INTO | given)["xz"].dtype
    proto = model(
        [op], [value("x", shape, dtype)], [value("y", None, np.float32 if floats else dtype)], used,
        domains=["com.microsoft"],
    )  # fmt: skip
    x = RNG.standard_normal(shape, np.float32) if dtype == np.float32 else _bytes(shape, dtype)
    (wanted,) = run(proto, {"x": x})
    found = compile_model(proto).model.load(1).run({"x": x})["y"]
    assert found.dtype == wanted.dtype
    off = np.abs(found.astype(np.float64) - wanted)
    if floats:
        assert off.max() <= 1e-5 * np.abs(wanted).max()
    else:
        assert off.max() <= 1
        assert (off > 0).mean() < 0.1


def _bytes(shape: list[int], dtype: np.dtype[Any]) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8).view(dtype)


def test_absent_zero_points_are_zero() -> None:
    """ONNX Runtime's own kernel fails there, so against the same with zero points."""
    weights = {"xs": np.asarray(np.float32(0.05)), "ys": np.asarray(np.float32(1 / 128)), "z": np.asarray(np.int8(0))}
    x = _bytes(SHAPE, np.dtype(np.int8))
    made = []
    for inputs in ("x xs - ys", "x xs z ys z"):
        op = call("QLinearSigmoid", inputs)
        used = {key: array for key, array in weights.items() if key in op.input}
        proto = model([op], [value("x", SHAPE, np.int8)], [value("y", None, np.int8)], used, domains=["com.microsoft"])
        made.append(compile_model(proto).model.load(1).run({"x": x})["y"])
    np.testing.assert_array_equal(*made)


def test_quantization_of_16_bits() -> None:
    """ONNX Runtime's own QuantizeLinear, from before ONNX had those types."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], domain="com.microsoft"),
        node("DequantizeLinear", ["q", "s", "z"], ["y"], domain="com.microsoft"),
    ]
    weights = {"s": np.asarray(np.float32(0.001)), "z": np.asarray(np.uint16(30000))}
    proto = model(nodes, [value("x", [7, 9])], [value("y", [7, 9])], weights, domains=["com.microsoft"])
    x = RNG.standard_normal((7, 9), np.float32)
    np.testing.assert_allclose(
        compile_model(proto).model.load(1).run({"x": x})["y"], run(proto, {"x": x})[0], atol=1e-6
    )


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (call("QLinearGlobalAveragePool", "x xs xz ys yz", channels_last=1), "images with their channels last"),
        (call("QLinearSoftmax", "x xs xz ys yz", axis=1, opset=12), "a softmax of opset 12 over other dims"),
    ],
)
def test_refusals(op: onnx.NodeProto, message: str) -> None:
    used = {key: np.asarray(array) for key, array in INTO.items() if key in op.input}
    proto = model([op], [value("x", SHAPE, np.uint8)], [value("y", None, np.uint8)], used, domains=["com.microsoft"])
    with pytest.raises(UnsupportedModelError, match=message) as refused:
        import_model(proto)
    assert f"{op.op_type} ('linear')" in str(refused.value)
