"""Every element type from the model's file to the caller's array: inputs, outputs, constants, and the arithmetic."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

import dsc
from dsc.cli.feeds import read_inputs, write_npz
from dsc.cli.images import Pixels
from dsc.elements import ELEMENT_TYPES
from dsc.errors import UnsupportedModelError
from tests.exchange.models import model, node, value

BF16 = np.dtype(ml_dtypes.bfloat16)
WIDE = [e.dtype for e in ELEMENT_TYPES if e.stored is not None and (e.encoding is None or e.bits == 16)]
"""Those that all operators take; `test_narrow_types.py` has the others."""

RNG = np.random.default_rng(0)


def _random(dtype: np.dtype, *shape: int) -> np.ndarray:
    if dtype == np.bool_:
        return RNG.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("opt_level", [0, 2])
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_what_goes_in_comes_out(dtype: np.dtype, opt_level: int) -> None:
    """Moved, chosen and joined with constants small and large, bit for bit."""
    x, small, large = (_random(dtype, *s) for s in ((3, 5), (1, 5), (70, 5)))
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    nodes = [
        node("Concat", ["x", "small", "large"], ["joined"], axis=0),
        node("Transpose", ["joined"], ["turned"]),
        node("Cast", ["x"], ["as_float"], to=onnx.TensorProto.FLOAT),
        node("Cast", ["as_float"], ["back"], to=kind),
    ]
    declared = [value("x", [3, 5])]
    declared[0].type.tensor_type.elem_type = kind
    outputs = [onnx.ValueInfoProto(name=n) for n in ("turned", "as_float", "back", "large")]
    proto = model(nodes, declared, outputs, {"small": small, "large": large})
    found = dsc.compile(proto, opt_level=opt_level, threads=1).run({"x": x})
    expected = {"turned": np.concatenate([x, small, large]).T, "as_float": x.astype(np.float32), "large": large}
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    if dtype.itemsize < 4:  # no rounding on the way
        np.testing.assert_array_equal(found["back"], x)


def _float(array: np.ndarray) -> np.ndarray:
    """As float32, by way of bfloat16."""
    return array.astype(BF16).astype(np.float32)


@pytest.mark.parametrize("opt_level", [0, 2])
def test_bfloat16_is_computed_in_float32_and_rounded_to_nearest_even(opt_level: int) -> None:
    """After each operator without optimization; else only what someone reads in bfloat16 (here, outputs)."""
    between = _float if opt_level == 0 else np.asarray
    x, w, k = (_random(BF16, *s) for s in ((2, 4, 9), (9, 70), (4, 2, 3)))
    nodes = [
        node("MatMul", ["x", "w"], ["product"]),
        node("Add", ["product", "c"], ["sum"]),
        node("Softmax", ["sum"], ["shares"]),
        node("ReduceSum", ["sum"], ["total"], keepdims=0),
        node("Conv", ["x", "k"], ["conv"], group=2, pads=[1, 1]),
        node("Exp", ["x"], ["exp"]),
    ]
    declared = value("x", ["n", 4, 9])
    declared.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    names = ["product", "sum", "shares", "total", "conv", "exp"]
    outputs = [onnx.ValueInfoProto(name=n) for n in names]
    proto = model(nodes, [declared], outputs, {"w": w, "k": k, "c": np.array(1.25, BF16)})
    found = dsc.compile(proto, opt_level=opt_level, threads=1).run({"x": x})
    a = x.astype(np.float32)
    product = between(a @ w.astype(np.float32))
    total = between(product + 1.25)
    exponentials = np.exp(total - total.max(-1, keepdims=True))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, [(0, 0), (0, 0), (1, 1)]), 3, axis=2)
    grouped = windows.reshape(2, 2, 2, 9, 3)
    conv = np.einsum("ngcwk,gock->ngow", grouped, k.astype(np.float32).reshape(2, 2, 2, 3)).reshape(2, 4, 9)
    expected = [product, total, exponentials / exponentials.sum(-1, keepdims=True), total.sum(), conv, np.exp(a)]
    for name, array in zip(names, expected, strict=True):
        assert found[name].dtype == BF16
        # sums in another order may round to the neighbour: 2^-8 apart
        np.testing.assert_allclose(found[name].astype(np.float32), _float(array), rtol=2**-7, atol=1e-6, err_msg=name)
        assert np.mean(found[name].astype(np.float32) != _float(array)) < 0.02, name


def test_rounding_to_bfloat16() -> None:
    """Ties to even, overflow to infinity, denormals, and NaN whose payload is in the lower half only."""
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x00008000, 0x80018001, 0x7F800001, 0xFFFFFFFF])
    x = np.concatenate([bits.astype(np.uint32).view(np.float32), np.float32([np.inf, -np.inf, -0.0, 1e-45, 3.4e38])])
    proto = model([node("Cast", ["x"], ["y"], to=16)], [value("x", [len(x)])], [onnx.ValueInfoProto(name="y")])
    found = dsc.compile(proto, threads=1).run({"x": x})["y"]
    np.testing.assert_array_equal(found.astype(np.float32), _float(x))
    np.testing.assert_array_equal(np.signbit(found.astype(np.float32)), np.signbit(x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "int4"])
def test_npz_files_of_types_that_numpy_does_not_have(tmp_path: Path, dtype: str) -> None:
    x = np.array([1, -2, 3]).astype(np.dtype(dtype))
    declared = value("x", [3])
    declared.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    nodes = [node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT)]
    module = dsc.compile(model(nodes, [declared], [onnx.ValueInfoProto(name="y")], opset=25), threads=1)
    write_npz(tmp_path / "in.npz", {"x": x})
    inputs = read_inputs([str(tmp_path / "in.npz")], module.inputs, Pixels())
    np.testing.assert_array_equal(module.run(inputs)["y"], x.astype(np.float32))


@pytest.mark.parametrize("code", [e.code for e in ELEMENT_TYPES if e.stored is None])
def test_other_types_are_refused_in_one_message(code: int) -> None:
    declared = value("x", [4])
    declared.type.tensor_type.elem_type = code
    name = next(e for e in ELEMENT_TYPES if e.code == code).dtype
    with pytest.raises(UnsupportedModelError, match=f"input 'x' has elements of type {name}"):
        dsc.compile(model([node("Identity", ["x"], ["y"])], [declared], [onnx.ValueInfoProto(name="y")], opset=27))
